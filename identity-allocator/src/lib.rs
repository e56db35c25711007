//! Labels to identity numbers and back, over the kvstore.

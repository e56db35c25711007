//! Map keys and values shared by the kernel and the user side.

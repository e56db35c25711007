//! Vocabulary: the nouns of Cilium, without I/O, serde or async.

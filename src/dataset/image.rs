//! Decoding and resizing of images.

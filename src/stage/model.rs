//! Re-estimation and other work on models that several stages share.

//! What finished models are for: predictions for new images, and folders for other programs.
//!
//! | file | what |
//! |---|---|
//! | [`source`] | a model from a checkpoint file, a folder, or an entry of the store |
//! | [`timm_folder`] | what the `config.json` of another program says of a model |
//! | [`images`] | image files from paths, folders and CSVs |
//! | [`predict`] | class probabilities of images |
//! | [`rows`] | predictions as CSV |
//! | [`export`] | folders for timm and PyTorch, with a model card |
//! | [`records`] | an experiment as a folder for TensorBoard, MedMNIST's evaluator, or an RO-Crate |

pub mod export;
pub mod images;
pub mod predict;
pub mod records;
pub mod rows;
pub mod source;
pub mod timm_folder;

//! The digits that Gradus carries: the first 10,000 images of MNIST's training set and their labels.
//!
//! Both are IDX files compressed with gzip, as the published ones are; `gradus::data::Digits::embedded` reads them.
//! This crate has no code, so that only those who ask for the digits carry their 1.6 MB. The images are by LeCun,
//! Cortes and Burges under CC BY-SA 3.0; the README tells where they were taken from.

/// 10,000 images of 28×28 grey levels, one byte each: IDX (magic 2051), gzip, 1,613,824 bytes.
pub const TRAIN_IMAGES: &[u8] = include_bytes!("../data/train-images-idx3-ubyte.gz");

/// Their 10,000 labels, 0 to 9, one byte each: IDX (magic 2049), gzip, 5,105 bytes.
pub const TRAIN_LABELS: &[u8] = include_bytes!("../data/train-labels-idx1-ubyte.gz");

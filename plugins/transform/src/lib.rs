//! plugins/transform

//! plugins/log

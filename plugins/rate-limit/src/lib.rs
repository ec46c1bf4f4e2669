//! plugins/rate-limit

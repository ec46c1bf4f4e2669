//! plugins/cors

//! Tests of the host, through small guests.

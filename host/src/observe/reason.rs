//! Why the gateway itself ended an exchange: short words for logs, metrics and `response.code_details`.

/// The reason for a response that the gateway made itself, or for a stream it reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request is not legal HTTP, or ambiguous.
    BadRequest,
    /// The request's head is larger than the limit.
    HeadersTooLarge,
    /// The request's head did not arrive in time.
    HeaderTimeout,
    /// An HTTP/2 connection's frames cost the gateway much and the client nothing.
    Http2Flood,
    /// The request's body is larger than a filter may hold.
    RequestTooLarge,
    /// The client did not send its body to the end.
    RequestAborted,
    /// The client left before the response was complete.
    ClientGone,
    /// What was asked for is not offered (CONNECT, an unknown upgrade).
    Unsupported,
    /// No route matches.
    NoRoute,
    /// The whole exchange took longer than the route allows.
    RouteTimeout,
    /// The gateway is at a limit of its own.
    Overloaded,
    /// The process has more memory than it may have.
    MemoryLimit,
    /// The gateway is shutting down.
    Draining,
    /// A filter that fails closed has faulted.
    FilterFault,
    /// A filter closed the stream.
    FilterReset,
    /// What the filters left of a message cannot be sent.
    FilterOutput,
    /// A filter led a request to a route whose own filters it has not passed.
    RerouteRefused,
    /// A filter changed the length of a body whose head had left with a length.
    LengthChanged,
    /// The response's body is larger than a filter may hold.
    ResponseTooLarge,
    /// The upstream has no target to try.
    NoTarget,
    /// No connection to the upstream.
    UpstreamConnectFailed,
    /// No connection to the upstream in time.
    UpstreamConnectTimeout,
    /// The upstream's certificate, or its TLS, was refused.
    UpstreamTlsFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream closed the connection before its answer was complete.
    UpstreamReset,
    /// Nothing has flowed for too long through a connection that was switched to another protocol.
    TunnelIdle,
    /// The upstream's answer is not legal HTTP.
    UpstreamProtocol,
    /// A fault in the gateway.
    Internal,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 28] = [
        Self::BadRequest,
        Self::HeadersTooLarge,
        Self::HeaderTimeout,
        Self::Http2Flood,
        Self::RequestTooLarge,
        Self::RequestAborted,
        Self::ClientGone,
        Self::Unsupported,
        Self::NoRoute,
        Self::RouteTimeout,
        Self::Overloaded,
        Self::MemoryLimit,
        Self::Draining,
        Self::FilterFault,
        Self::FilterReset,
        Self::FilterOutput,
        Self::RerouteRefused,
        Self::LengthChanged,
        Self::ResponseTooLarge,
        Self::NoTarget,
        Self::UpstreamConnectFailed,
        Self::UpstreamConnectTimeout,
        Self::UpstreamTlsFailed,
        Self::UpstreamTimeout,
        Self::UpstreamReset,
        Self::TunnelIdle,
        Self::UpstreamProtocol,
        Self::Internal,
    ];

    /// Whether a client's request is to blame, not what stands behind the gateway or in it.
    #[must_use]
    pub fn is_about_requests(self) -> bool {
        match self {
            Self::BadRequest
            | Self::HeadersTooLarge
            | Self::HeaderTimeout
            | Self::Http2Flood
            | Self::RequestTooLarge
            | Self::RequestAborted
            | Self::ClientGone
            | Self::Unsupported
            | Self::NoRoute => true,
            Self::RouteTimeout
            | Self::Overloaded
            | Self::MemoryLimit
            | Self::Draining
            | Self::FilterFault
            | Self::FilterReset
            | Self::FilterOutput
            | Self::RerouteRefused
            | Self::LengthChanged
            | Self::ResponseTooLarge
            | Self::NoTarget
            | Self::UpstreamConnectFailed
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTlsFailed
            | Self::UpstreamTimeout
            | Self::UpstreamReset
            | Self::TunnelIdle
            | Self::UpstreamProtocol
            | Self::Internal => false,
        }
    }

    /// Whether an upstream failed a request.
    #[must_use]
    pub fn is_about_upstreams(self) -> bool {
        matches!(
            self,
            Self::NoTarget
                | Self::Overloaded
                | Self::UpstreamConnectFailed
                | Self::UpstreamConnectTimeout
                | Self::UpstreamTlsFailed
                | Self::UpstreamTimeout
                | Self::UpstreamReset
                | Self::UpstreamProtocol
                | Self::RouteTimeout
        )
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeaderTimeout => "header_timeout",
            Self::Http2Flood => "http2_flood",
            Self::RequestTooLarge => "request_too_large",
            Self::RequestAborted => "request_aborted",
            Self::ClientGone => "client_gone",
            Self::Unsupported => "unsupported",
            Self::NoRoute => "no_route",
            Self::RouteTimeout => "route_timeout",
            Self::Overloaded => "overloaded",
            Self::MemoryLimit => "memory_limit",
            Self::Draining => "draining",
            Self::FilterFault => "filter_fault",
            Self::FilterReset => "filter_reset",
            Self::FilterOutput => "filter_output",
            Self::RerouteRefused => "reroute_refused",
            Self::LengthChanged => "length_changed",
            Self::ResponseTooLarge => "response_too_large",
            Self::NoTarget => "no_target",
            Self::UpstreamConnectFailed => "upstream_connect_failed",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTlsFailed => "upstream_tls_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::TunnelIdle => "tunnel_idle",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_reason_at_its_place_with_a_word_of_its_own() {
        let mut words = std::collections::BTreeSet::new();
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert!(words.insert(reason.as_str()));
        }
        assert_eq!(Reason::Internal as usize, Reason::ALL.len() - 1);
    }
}

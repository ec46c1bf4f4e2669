//! A route chosen again, because a filter has changed the request and asks for it.
//!
//! It happens once, when the head has left the chain: what filters ask for later is ignored, and no loop is possible. The chain
//! that runs stays the one of the first route. So that nothing is led around what guards the new route, the request must have passed
//! all the filters that the new route would have it pass as it is now, with the same configurations; a route can say that it does
//! without ([`Reroute::Any`]).

use std::fmt::Display;
use std::rc::Rc;

use http::{HeaderValue, Method, header};

use super::methods::takes_trace;
use super::{Ongoing, ProxyError, upgrade};
use crate::config::{FilterEntry, Reroute};
use crate::filter::{Chain, Direction, egress};
use crate::route::host::Authority;
use crate::route::{RequestView, path};

/// Chooses the route again, if a filter has asked for that.
///
/// # Errors
/// No route takes the request as it is now, or one that is not open to it does.
pub(super) fn again(ongoing: &mut Ongoing, chain: &Chain) -> Result<(), ProxyError> {
    if !chain.exchange().take_route_cleared() {
        return Ok(());
    }
    let (index, open) = find(ongoing, chain)?;
    if ongoing.routed.route == Some(index) {
        return Ok(());
    }
    let generation = Rc::clone(&ongoing.generation);
    let (Some(route), Some(config)) = (generation.routes.get(index), generation.config.routes.get(index)) else {
        return Err(ProxyError::NoOtherRoute);
    };
    if !open {
        return Err(ProxyError::Unpassed(Rc::clone(&route.name)));
    }
    ongoing.routed.route = Some(index);
    ongoing.routed.share = route.shares.next();
    // What was asked for is in the head that the filters saw; another protocol than the new route offers is not.
    let offers = |asked: &HeaderValue| config.upgrades.iter().any(|offered| upgrade::same(offered, asked));
    if ongoing.arrival.upgrade.as_ref().is_some_and(|asked| !offers(asked)) {
        ongoing.arrival.upgrade = None;
    }
    let share = ongoing.routed.share.and_then(|share| route.shares.get(share));
    ongoing.recording.moved(route, share);
    let upstream = share.map_or_else(|| Rc::from(""), |share| Rc::clone(&share.name));
    chain.exchange().progress.borrow_mut().rerouted = Some((Rc::clone(&route.name), upstream));
    Ok(())
}

/// The route that takes the request as its filters have left it, and whether it is open to it.
fn find(ongoing: &Ongoing, chain: &Chain) -> Result<(usize, bool), ProxyError> {
    let illegal = |error: &dyn Display| ProxyError::FilterOutput(error.to_string());
    let head = chain.exchange().headers(Direction::Request).map(|head| egress::request(&head));
    let mut head = head.ok_or(ProxyError::NoOtherRoute)?.map_err(|error| illegal(&error))?;
    // What is kept apart of the head has a name in conditions all the same.
    if let Ok(host) = HeaderValue::from_str(head.authority.as_str()) {
        head.headers.insert(header::HOST, host);
    }
    if let Some(protocol) = &ongoing.arrival.upgrade {
        head.headers.insert(header::UPGRADE, protocol.clone());
    }
    let arrival = &ongoing.arrival;
    match (&arrival.upload, arrival.length) {
        (Some(_), Some(length)) => drop(head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        (Some(_), None) => {
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        (None, _) => {}
    }
    if arrival.expects {
        head.headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    let host = Authority::parse(head.authority.as_str()).map_err(|error| illegal(&error))?.host;
    let path = path::normalise(head.path.path()).map_err(|error| illegal(&error))?;
    let view = RequestView {
        host: &host,
        path: &path::without_parameters(&path),
        query: head.path.query(),
        method: &head.method,
        headers: &head.headers,
        listener: &ongoing.client.listener,
    };
    let index = ongoing.generation.router.find(&view).ok_or(ProxyError::NoOtherRoute)?;
    Ok((index, is_open(ongoing, index, &view)))
}

/// Whether a request may go on as one of that route.
fn is_open(ongoing: &Ongoing, index: usize, view: &RequestView<'_>) -> bool {
    let generation = &ongoing.generation;
    let entries = |route: Option<usize>| -> Vec<&FilterEntry> {
        let own = route.and_then(|route| generation.config.routes.get(route)).map_or(&[][..], |route| &route.filters);
        generation.config.filters.iter().chain(own).collect()
    };
    let (Some(config), Some(route)) = (generation.config.routes.get(index), generation.routes.get(index)) else {
        return false;
    };
    // As when it had come to this route at once.
    if *view.method == Method::TRACE && !takes_trace(config) {
        return false;
    }
    if config.reroute == Reroute::Any {
        return true;
    }
    let first = ongoing.routed.route.and_then(|first| generation.routes.get(first));
    let list = first.map_or(&generation.unrouted, |first| &first.filters);
    let all = entries(ongoing.routed.route);
    let passed: Vec<&FilterEntry> =
        list.places(&ongoing.routed.filters).filter_map(|place| all.get(place).copied()).collect();
    let (guards, all) = (route.filters.select(view), entries(Some(index)));
    route
        .filters
        .places(&guards)
        .all(|place| all.get(place).is_some_and(|guard| passed.iter().any(|passed| passed.does_the_same(guard))))
}

//! In a worker: makes what its run asks for, one order after the other.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::message::{Ending, Message, Order, Request};
use super::signals::Signals;
use super::worker::Tell;

/// An order, or why a line is none.
pub type Received = Result<Box<Order>, serde_json::Error>;

/// Reads requests in a thread of its own until there are no more, so that one to stop is heard at once.
pub fn receive(requests: impl BufRead + Send + 'static, signals: &Arc<Signals>) -> Receiver<Received> {
    let (sender, receiver) = channel();
    let signals = Arc::clone(signals);
    thread::spawn(move || {
        for line in requests.lines().map_while(Result::ok) {
            let received = match serde_json::from_str(&line) {
                Ok(Request::Stop) => {
                    signals.stop();
                    continue;
                }
                Ok(Request::Make(order)) => Ok(order),
                Err(error) => Err(error),
            };
            signals.go_on();
            if sender.send(received).is_err() {
                break;
            }
        }
        // The run has no more to ask for, or is gone.
        signals.stop();
    });
    receiver
}

/// Makes what orders say until there are no more, or a signal says to end.
///
/// # Errors
/// A line that is no order.
pub fn serve(
    orders: &Receiver<Received>,
    signals: &Signals,
    tell: &Tell<'_>,
    mut make: impl FnMut(&Order) -> Ending,
) -> Result<(), serde_json::Error> {
    while let Ok(order) = orders.recv() {
        let order = order?;
        if !signals.begin() {
            break;
        }
        tell(Message::Begun);
        let ending = make(&order);
        let may_go_on = signals.end();
        tell(Message::Ended(ending));
        if !may_go_on {
            break;
        }
    }
    Ok(())
}

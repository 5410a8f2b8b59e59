//! Worker side: carries out the orders of a run, one at a time.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::message::{Ending, Message, Order, Request};
use super::signals::Signals;
use super::worker::Notify;

/// An order, or a parse error.
pub type Received = Result<Box<Order>, serde_json::Error>;

/// Read requests in a separate thread until the end of input, so that a request to stop takes effect immediately.
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
            signals.resume();
            if sender.send(received).is_err() {
                break;
            }
        }
        // The run has closed the pipe or ended.
        signals.stop();
    });
    receiver
}

/// Carry out orders until there are no more, or a signal asks the process to end.
///
/// # Errors
/// A request could not be parsed.
pub fn serve(
    orders: &Receiver<Received>,
    signals: &Signals,
    notify: &Notify<'_>,
    mut make: impl FnMut(&Order) -> Ending,
) -> Result<(), serde_json::Error> {
    while let Ok(order) = orders.recv() {
        let order = order?;
        if !signals.begin() {
            break;
        }
        notify(Message::Started);
        let ending = make(&order);
        let may_continue = signals.end();
        notify(Message::Ended(ending));
        if !may_continue {
            break;
        }
    }
    Ok(())
}

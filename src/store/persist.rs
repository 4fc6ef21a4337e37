//! The persister: one thread that writes behind the tables, and the bounded queue before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use parking_lot::{Condvar, Mutex};

use super::engine::{Batch, Engine};
use super::fault::Fault;
use crate::limits::{PERSIST_QUEUE_BYTES_MAX, PERSIST_QUEUE_MAX};

/// How many batches were ever handed over: what was written can be compared with it.
pub(crate) type Ticket = u64;

/// Hands batches to the thread. Dropped, it lets the thread write what waits, and waits for it.
#[derive(Debug)]
pub(crate) struct Persister {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
    /// In a simulation nothing is written behind: whoever sends, writes.
    #[cfg(feature = "sim")]
    engine: Option<Arc<Engine>>,
}

/// Batches that wait, and how far the thread has come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    sent: Ticket,
    written: Ticket,
    closed: bool,
    /// The thread writes nothing more.
    ended: bool,
    fault: Option<Fault>,
}

impl Persister {
    /// Starts the thread over an engine.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the system gives no thread.
    pub(crate) fn start(engine: Arc<Engine>) -> Result<Self, Fault> {
        let queue = Arc::new(Queue::default());
        #[cfg(feature = "sim")]
        if super::memory::is_on() {
            return Ok(Self { queue, thread: None, engine: Some(engine) });
        }
        let of_thread = Arc::clone(&queue);
        let thread = Builder::new()
            .name("persister".to_owned())
            .spawn(move || of_thread.run(&engine))
            .map_err(|error| Fault::new(format!("cannot start the persister: {error}")))?;
        Ok(Self {
            queue,
            thread: Some(thread),
            #[cfg(feature = "sim")]
            engine: None,
        })
    }

    /// Hands a batch over; waits while too many, or too large ones, wait already.
    ///
    /// # Errors
    ///
    /// [`Fault`] if an earlier batch could not be written.
    pub(crate) fn send(&self, batch: Batch) -> Result<(), Fault> {
        let weight = batch.weight();
        let mut state = self.queue.state.lock();
        while state.fault.is_none() && state.is_full(weight) {
            self.queue.emptied.wait(&mut state);
        }
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        state.bytes += weight;
        state.sent += 1;
        state.batches.push_back(batch);
        self.queue.filled.notify_one();
        #[cfg(feature = "sim")]
        if let Some(engine) = &self.engine {
            drop(state);
            self.queue.write_waiting(engine);
        }
        Ok(())
    }

    /// A mark behind everything that was handed over so far, to be waited for.
    pub(crate) fn barrier(&self) -> (Arc<Queue>, Ticket) {
        (Arc::clone(&self.queue), self.queue.state.lock().sent)
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the persister does not panic");
        }
    }
}

impl State {
    fn is_full(&self, weight: usize) -> bool {
        let many = self.batches.len() >= PERSIST_QUEUE_MAX;
        let large = self.bytes > 0 && self.bytes + weight > PERSIST_QUEUE_BYTES_MAX;
        many || large
    }
}

impl Queue {
    /// Waits until everything up to a mark was written.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it could not be.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<(), Fault> {
        let mut state = self.state.lock();
        while state.fault.is_none() && !state.ended && state.written < ticket {
            self.emptied.wait(&mut state);
        }
        match &state.fault {
            Some(fault) => Err(fault.clone()),
            None if state.written >= ticket => Ok(()),
            None => Err(Fault::new("the persister ended before it had written all")),
        }
    }

    fn run(&self, engine: &Engine) {
        while let Some(batch) = self.next() {
            self.write(engine, &batch);
        }
        self.state.lock().ended = true;
        self.emptied.notify_all();
    }

    #[cfg(feature = "sim")]
    fn write_waiting(&self, engine: &Engine) {
        while let Some(batch) = self.take() {
            self.write(engine, &batch);
        }
    }

    #[cfg(feature = "sim")]
    fn take(&self) -> Option<Batch> {
        self.state.lock().batches.pop_front()
    }

    fn write(&self, engine: &Engine, batch: &Batch) {
        let outcome = engine.write(batch);
        failpoint!("persist.write.after");
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(batch.weight());
        state.written += 1;
        if let Err(fault) = outcome {
            state.batches.clear();
            state.fault = Some(fault);
        }
        self.emptied.notify_all();
    }

    fn next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if let Some(batch) = state.batches.pop_front() {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            self.filled.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_gets_what_a_closed_queue_still_writes() {
        let queue = Arc::new(Queue::default());
        *queue.state.lock() = State { sent: 1, closed: true, ..State::default() };
        let waiting = Arc::clone(&queue);
        let waiter = std::thread::spawn(move || waiting.wait(1));
        for _ in 0..10_000 {
            assert!(!waiter.is_finished(), "it is not written yet");
            std::thread::yield_now();
        }
        queue.state.lock().written = 1;
        queue.emptied.notify_all();
        waiter.join().unwrap().unwrap();
        queue.state.lock().ended = true;
        assert!(queue.wait(2).is_err(), "nobody will write it any more");
    }
}

//! The open loop: requests are due at fixed times, whatever becomes of those before.
//!
//! A closed loop waits for the answer before it asks again, so while a server stands still it asks
//! nothing and counts one slow answer where a thousand users would have waited. Here latencies
//! count from the moment a request was due, and all that were due are accounted for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use crate::figures::float;
use crate::load::{Counts, Tally, Window};
use crate::worker::Worker;

/// A request that is later than this when a connection is free is not sent but counts as an error.
const LATE_MAX: Duration = Duration::from_secs(10);
/// A request that a free connection takes up within this was not late; timers and the other
/// workers of a thread take some of it.
const ON_TIME: Duration = Duration::from_millis(1);

/// Room for more than the number that a timer rings with, so that it is seen to be all.
const RING_BYTES_MAX: usize = 16;

/// When requests are due. Workers without work take the next one each.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    end: Instant,
    /// Requests a second.
    rate: f64,
    next: AtomicU64,
}

impl Schedule {
    /// Requests at `rate` a second from `start` to `end`, evenly.
    pub(crate) fn new(start: Instant, end: Instant, rate: f64) -> Self {
        Self { start, end, rate, next: AtomicU64::new(0) }
    }

    /// When the next request is due, none if that is after the end. Every request is given once.
    fn claim(&self) -> Option<Instant> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.start + Duration::from_secs_f64(float(number) / self.rate);
        (due < self.end).then_some(due)
    }
}

/// Takes due requests until there are no more, each at its time or as soon after as it can.
pub(crate) async fn open(
    mut worker: Worker,
    schedule: Arc<Schedule>,
    mut alarm: Alarm,
    window: Window,
) -> Tally {
    let mut tally = Tally::default();
    while let Some(due) = schedule.claim() {
        let was_free = Instant::now() <= due + ON_TIME;
        if let Err(error) = alarm.until(due).await {
            tally.error(format!("timer: {error}"));
        }
        tally.late += u64::from(!was_free && window.holds(due));
        if due.elapsed() > LATE_MAX {
            tally.error("not started within 10 s".to_owned());
            continue;
        }
        let outcome = worker.ask().await;
        tally.count(outcome, due, window, Counts::WhatIsDue).await;
    }
    tally
}

/// What wakes a worker at its time.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// A timer of the kernel. Tokio's own are rounded up to the next millisecond, which would be
    /// most of what a fast server's latency is.
    Kernel(Receiver),
    /// Tokio's clock, which a test can pause.
    #[cfg(test)]
    Tokio,
}

impl Alarm {
    /// A timer of its own.
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // To a reader a timer is a pipe that a number of eight bytes comes out of when it rings.
        Ok(Self::Kernel(Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Returns at `moment`, or at once if that is past.
    async fn until(&mut self, moment: Instant) -> std::io::Result<()> {
        let timer = match self {
            Self::Kernel(timer) => timer,
            #[cfg(test)]
            Self::Tokio => {
                tokio::time::sleep_until(moment).await;
                return Ok(());
            }
        };
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(left).map_err(std::io::Error::other)?,
        };
        timerfd_settime(&*timer, TimerfdTimerFlags::empty(), &once)?;
        timer.read(&mut [0; RING_BYTES_MAX]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn requests_are_due_evenly_and_given_once() {
        let start = Instant::now();
        let schedule = Schedule::new(start, start + SECOND, 4.0);
        let due: Vec<_> = std::iter::from_fn(|| schedule.claim()).collect();
        let wanted = [0, 250, 500, 750].map(|millis| start + Duration::from_millis(millis));
        assert_eq!(due, wanted);
        assert_eq!(schedule.claim(), None);
    }

    /// Workers whose every answer takes this long, at this rate, measured from 1 s to 2 s.
    async fn run(workers: usize, rate: f64, takes: Duration) -> Tally {
        let start = Instant::now();
        let window = Window::new(start + SECOND, SECOND);
        let schedule = Arc::new(Schedule::new(start, start + 2 * SECOND, rate));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..workers {
            let schedule = Arc::clone(&schedule);
            tasks.spawn(open(Worker::slow(takes), schedule, Alarm::Tokio, window));
        }
        let mut sum = Tally::default();
        while let Some(tally) = tasks.join_next().await {
            sum.merge(tally.unwrap());
        }
        sum
    }

    fn millis(tally: &Tally, per_mille: u64) -> u128 {
        tally.latencies.quantile(per_mille).as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn workers_that_are_enough_show_the_answer_alone() {
        let tally = run(4, 100.0, Duration::from_millis(20)).await;
        assert_eq!(tally.latencies.total(), 100);
        // The histogram is exact to a hundredth.
        assert!(millis(&tally, 10) >= 19 && millis(&tally, 1000) <= 21);
        assert_eq!(tally.late, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_connection_counts_as_latency() {
        // One worker does 50 a second and 100 are due: the last of 200 waits for two seconds.
        let tally = run(1, 100.0, Duration::from_millis(20)).await;
        assert_eq!(tally.latencies.total(), 100, "all that were due in the window, however late");
        assert_eq!(tally.late, 100);
        let slowest = millis(&tally, 1000);
        assert!((1_980..=2_040).contains(&slowest), "{slowest} ms");
        let rate = tally.answered;
        assert!((49..=51).contains(&rate), "{rate} answers came within the window");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_started_is_an_error() {
        let tally = run(1, 10.0, Duration::from_secs(4)).await;
        // Started at 0, 4, 8 s; at 12 s what was due before 2 s is more than ten late.
        assert_eq!(tally.errors["not started within 10 s"], 17);
    }

    #[tokio::test]
    async fn the_kernel_wakes_once_for_each_time() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let moment = Instant::now() + Duration::from_millis(3);
            alarm.until(moment).await.unwrap();
            assert!(Instant::now() >= moment);
        }
        alarm.until(Instant::now()).await.unwrap();
    }
}

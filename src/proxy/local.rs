//! Runs the tasks of hyper's HTTP/2 on the thread that made them.

use std::future::Future;

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

/// An executor for one worker; the tracker knows when all its tasks have ended.
#[derive(Debug, Clone)]
pub(super) struct Local(TaskTracker);

impl Local {
    pub(super) fn new(tasks: &TaskTracker) -> Self {
        Self(tasks.clone())
    }
}

impl<F> Executor<F> for Local
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_local(task);
    }
}

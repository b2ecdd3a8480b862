//! A simulated process as a coroutine: each host call hands control to the scheduler, and comes back with the reply.

use std::cell::{Cell, RefCell};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::op::{Op, Reply};

type Stacked = Coroutine<Reply, Op, (), DefaultStack>;

/// Enough for the deepest protocol, which parses JSON.
const STACK_BYTES: usize = 256 * 1024;

thread_local! {
    /// The coroutine that runs now; null outside.
    static CURRENT: Cell<*const Yielder<Reply, Op>> = const { Cell::new(std::ptr::null()) };
    /// Stacks of finished coroutines, for the next ones.
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A process's code, stopped before its next call.
pub struct Code {
    coroutine: Option<Stacked>,
    yielder: *const Yielder<Reply, Op>,
}

impl Code {
    /// Makes the process; it runs up to its first call, which is returned, or to its end.
    pub fn start(body: impl FnOnce() + 'static) -> (Code, Option<Op>) {
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a stack"));
        let coroutine = Stacked::with_stack(stack, |yielder: &Yielder<Reply, Op>, _: Reply| {
            CURRENT.set(yielder);
            body();
        });
        let mut code = Code { coroutine: Some(coroutine), yielder: std::ptr::null() };
        let first = code.go_on(Ok(crate::op::Value::Nothing));
        (code, first)
    }

    /// Lets the process run to its next call, or to its end.
    pub fn go_on(&mut self, reply: Reply) -> Option<Op> {
        let coroutine = self.coroutine.as_mut().expect("a process that has not ended");
        CURRENT.set(self.yielder);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| coroutine.resume(reply)));
        self.yielder = CURRENT.replace(std::ptr::null());
        match result {
            Ok(CoroutineResult::Yield(op)) => Some(op),
            Ok(CoroutineResult::Return(())) => None,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let text = text.unwrap_or_else(|| "of an unknown kind".to_owned());
                super::with_world(|world| world.check.break_rule(format!("a process panicked: {text}")));
                None
            }
        }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let Some(mut coroutine) = self.coroutine.take() else { return };
        // What the process owned is dropped now. Its calls do nothing: the world has it marked as dead.
        coroutine.force_unwind();
        STACKS.with_borrow_mut(|stacks| stacks.push(coroutine.into_stack()));
    }
}

/// Makes a call from within a process; `None` if no process runs, so that the caller is the test itself.
pub(super) fn suspend(op: Op) -> Result<Reply, Op> {
    let yielder = CURRENT.get();
    if yielder.is_null() {
        return Err(op);
    }
    // SAFETY: set by the coroutine that runs now, on whose stack the yielder lives until it ends; `go_on` takes the
    // pointer away whenever another runs.
    Ok(unsafe { &*yielder }.suspend(op))
}

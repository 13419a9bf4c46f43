//! Start-up and reaping as a model that is searched to the last state: children die, orphans are adopted and signals
//! come at every point. What must never be is never found, and is found as soon as the order is another one.

mod code;
mod support;
mod tracee;

use stateright::{Checker, Model, Property};
use support::*;

/// What pause does, one system call a step, in the order of src/main.rs.
const SHIPPED: &[Step] =
    &[Step::LookWhetherFirst, Step::Handle(INT), Step::Handle(TERM), Step::IgnoreSigchld, Step::Sweep, Step::Sleep];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    LookWhetherFirst,
    /// Installs the handler of a signal.
    Handle(Signal),
    IgnoreSigchld,
    /// Releases one zombie and is done again, or finds none.
    Sweep,
    Sleep,
}

/// A place in arrays with one element a signal. The kernel delivers the lower number first, which is SIGINT's.
type Signal = usize;
const INT: Signal = 0;
const TERM: Signal = 1;

/// How often each signal is sent, and how many processes there are beside pause.
const SENT: u8 = 2;
const PROCESSES: usize = 3;

struct Pause {
    program: &'static [Step],
    is_first: bool,
    handlers: Handlers,
}

#[derive(Clone, Copy, PartialEq)]
enum Handlers {
    /// They block every signal while they run, and end in exit(2).
    Shipped,
    /// They block their own signal only.
    Interruptible,
    /// They return, as the handlers do that leave the end to the main program.
    Returning,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    others: [Process; PROCESSES],
    step: usize,
    is_handled: [bool; 2],
    ignores_sigchld: bool,
    sent: [u8; 2],
    pending: [bool; 2],
    /// Whether a signal came when it was handled.
    must_end: bool,
    /// The handlers that have been entered and whether they have told so, the innermost last.
    handlers: Vec<(Signal, bool)>,
    messages: Vec<Signal>,
    end: Option<End>,
}

/// A process beside pause: alive or a zombie, somebody else's child or pause's, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    Elsewhere,
    ElsewhereZombie,
    Child,
    Zombie,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Exited,
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// Pause, or the handler it is in, goes a step on.
    Run,
    Send(Signal),
    /// The kernel lets a pending signal have its effect.
    Deliver(Signal),
    Die(usize),
    /// The parent of another process dies, and pause becomes its parent.
    Adopt(usize),
}

impl State {
    fn is_asleep_in(&self, pause: &Pause) -> bool {
        self.end.is_none() && self.handlers.is_empty() && pause.program[self.step] == Step::Sleep
    }

    /// The signal that is delivered next.
    fn deliverable(&self, pause: &Pause) -> Option<Signal> {
        let is_blocked = |signal: &Signal| match pause.handlers {
            Handlers::Interruptible => self.handlers.iter().any(|(handled, _)| handled == signal),
            Handlers::Shipped | Handlers::Returning => !self.handlers.is_empty(),
        };
        [INT, TERM].into_iter().find(|signal| self.pending[*signal] && !is_blocked(signal))
    }

    /// What becomes of a child of pause that is dead: the kernel's do_notify_parent (kernel/signal.c).
    fn dead_child(&self) -> Process {
        if self.ignores_sigchld { Process::Gone } else { Process::Zombie }
    }
}

impl Model for Pause {
    type State = State;
    type Action = Action;

    /// The other processes may be anything, also children that were there before pause was (execve(2) keeps them).
    fn init_states(&self) -> Vec<State> {
        use Process::*;
        let kinds = [Elsewhere, ElsewhereZombie, Child, Zombie, Gone];
        let state = |others| State {
            others,
            step: 0,
            is_handled: [false; 2],
            ignores_sigchld: false,
            sent: [0; 2],
            pending: [false; 2],
            must_end: false,
            handlers: Vec::new(),
            messages: Vec::new(),
            end: None,
        };
        let numbers = 0..kinds.len().pow(PROCESSES as u32);
        let others = |number| std::array::from_fn(|place| kinds[number / kinds.len().pow(place as u32) % kinds.len()]);
        numbers.map(|number| state(others(number))).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.end.is_some() {
            return;
        }
        if !state.is_asleep_in(self) {
            actions.push(Action::Run);
        }
        actions.extend([INT, TERM].into_iter().filter(|signal| state.sent[*signal] < SENT).map(Action::Send));
        actions.extend(state.deliverable(self).map(Action::Deliver));
        for (place, process) in state.others.iter().enumerate() {
            match process {
                Process::Elsewhere => actions.extend([Action::Die(place), Action::Adopt(place)]),
                Process::ElsewhereZombie => actions.push(Action::Adopt(place)),
                Process::Child => actions.push(Action::Die(place)),
                Process::Zombie | Process::Gone => {}
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Run => self.run(&mut next),
            Action::Send(signal) => {
                next.sent[signal] += 1;
                next.pending[signal] |= state.is_handled[signal];
                next.must_end |= state.is_handled[signal];
                // The default effect of both is to kill; on the first process of a namespace it is none.
                if !state.is_handled[signal] && !self.is_first {
                    next.end = Some(End::Killed);
                }
            }
            Action::Deliver(signal) => {
                next.pending[signal] = false;
                next.handlers.push((signal, false));
            }
            Action::Die(place) => {
                next.others[place] = match state.others[place] {
                    Process::Elsewhere => Process::ElsewhereZombie,
                    _ => state.dead_child(),
                }
            }
            Action::Adopt(place) => {
                next.others[place] = match state.others[place] {
                    Process::Elsewhere => Process::Child,
                    _ => state.dead_child(),
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no zombie survives", |pause, state: &State| {
                !(state.is_asleep_in(pause) && state.others.contains(&Process::Zombie))
            }),
            Property::always("one message at most", |_, state: &State| state.messages.len() <= 1),
            Property::always("no signal with a handler is lost", |pause, state: &State| {
                let is_stuck = state.is_asleep_in(pause) && state.deliverable(pause).is_none();
                !(state.must_end && is_stuck)
            }),
            // What makes the others worth checking.
            Property::sometimes("it sleeps through the death of a child", |pause, state: &State| {
                state.is_asleep_in(pause) && state.others == [Process::Gone; PROCESSES]
            }),
            Property::sometimes("both signals wait", |_, state: &State| state.pending == [true; 2]),
            Property::sometimes("it exits", |_, state: &State| state.end == Some(End::Exited)),
        ]
    }
}

impl Pause {
    fn run(&self, next: &mut State) {
        if let Some((signal, has_told)) = next.handlers.last_mut() {
            if !*has_told {
                *has_told = true;
                next.messages.push(*signal);
            } else if self.handlers == Handlers::Returning {
                next.handlers.pop();
            } else {
                next.end = Some(End::Exited);
            }
            return;
        }
        match self.program[next.step] {
            Step::LookWhetherFirst => {}
            Step::Handle(signal) => next.is_handled[signal] = true,
            Step::IgnoreSigchld => next.ignores_sigchld = true,
            Step::Sweep => {
                if let Some(zombie) = next.others.iter_mut().find(|process| **process == Process::Zombie) {
                    *zombie = Process::Gone;
                    return;
                }
            }
            Step::Sleep => unreachable!("it only wakes up in a handler"),
        }
        next.step += 1;
    }
}

fn searched(pause: Pause) -> impl Checker<Pause> {
    let checker = pause.checker().threads(2).spawn_bfs().join();
    assert!(checker.is_done());
    println!("{} states", checker.unique_state_count());
    checker
}

#[test]
fn it_keeps_its_promises_whenever_children_die_and_signals_come() {
    for is_first in [true, false] {
        searched(Pause { program: SHIPPED, is_first, handlers: Handlers::Shipped }).assert_properties();
    }
}

/// Asserts that a promise would be broken, and tells how.
#[track_caller]
fn breaks(pause: Pause, promise: &'static str) {
    let checker = searched(pause);
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("{promise:?} holds, so that it means nothing"));
    println!("{promise:?} is broken by {:?}", path.into_actions());
}

#[test]
fn a_sweep_before_sigchld_is_ignored_would_leave_a_zombie() {
    const TOO_EARLY: &[Step] = &[Step::Handle(INT), Step::Handle(TERM), Step::Sweep, Step::IgnoreSigchld, Step::Sleep];
    breaks(Pause { program: TOO_EARLY, is_first: true, handlers: Handlers::Shipped }, "no zombie survives");
}

#[test]
fn no_sweep_would_leave_a_zombie() {
    const NEVER: &[Step] = &[Step::Handle(INT), Step::Handle(TERM), Step::IgnoreSigchld, Step::Sleep];
    breaks(Pause { program: NEVER, is_first: true, handlers: Handlers::Shipped }, "no zombie survives");
}

#[test]
fn handlers_that_do_not_block_each_other_would_tell_twice() {
    breaks(Pause { program: SHIPPED, is_first: true, handlers: Handlers::Interruptible }, "one message at most");
}

#[test]
fn handlers_that_return_would_lose_a_signal() {
    breaks(
        Pause { program: SHIPPED, is_first: true, handlers: Handlers::Returning },
        "no signal with a handler is lost",
    );
}

/// Steps through instructions of this machine's architecture.
mod natively {
    use super::*;
    use code::Code;
    use nix::sys::signal::Signal::SIGTERM;
    use nix::sys::wait::WaitStatus;
    use tracee::Tracee;

    /// The system call a step is made of.
    fn call(step: &Step) -> &'static str {
        match step {
            Step::LookWhetherFirst => "getpid",
            Step::Handle(_) | Step::IgnoreSigchld => "rt_sigaction",
            Step::Sweep => "wait4",
            Step::Sleep => "pause",
        }
    }

    #[test]
    fn the_order_of_the_model_is_that_of_the_shipped_file() {
        let code = Code::of(&platform(), &std::fs::read(shipped()).expect("the shipped file"), &TEXTS);
        let names = code.system_calls();
        let tracee = Tracee::start(sandboxed(shipped()));
        let base = tracee.base();
        let mut calls = Vec::new();
        while calls.last().is_none_or(|call| call != "pause") {
            calls.extend(names.get(&(tracee.address() - base)).map(|names| names.first().expect("a name").clone()));
            let is_to_go_on = matches!(tracee.step(None), WaitStatus::Stopped(_, signal) if signal != SIGTERM);
            assert!(is_to_go_on || calls.last().is_some_and(|call| call == "pause"), "{calls:?}");
        }
        assert_eq!(calls, SHIPPED.iter().map(call).collect::<Vec<_>>());
    }
}

//! Freezes by operators and by the freeze file.

use std::{collections::HashSet, fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};

use crate::{clock, identity::CallerId};

/// The freezes in force. Clones share them.
#[derive(Clone, Default)]
pub struct Freeze(Arc<FreezeState>);

#[derive(Default)]
struct FreezeState {
    by_operator: ArcSwapOption<Frozen>,
    by_file: ArcSwapOption<Frozen>,
    file_turn: Mutex<()>,
}

/// A freeze in force.
#[derive(Debug)]
pub struct Frozen {
    /// When it took effect in this process.
    pub since: DateTime<Utc>,
    /// The freeze as requested.
    pub said: FreezeEntry,
}

/// A freeze as requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeEntry {
    /// The frozen callers.
    pub scope: FreezeScope,
    /// The given reason.
    pub reason: Option<String>,
    /// The operator's user id.
    pub uid: Option<u32>,
    /// When it was requested.
    pub time: Option<DateTime<Utc>>,
    /// Why all callers are frozen although that may not be intended.
    pub problem: Option<String>,
}

/// The callers of a freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreezeScope {
    /// All callers.
    Everybody,
    /// These callers.
    Callers(HashSet<CallerId>),
}

impl Freeze {
    /// Whether this caller is frozen. Lock-free, so it can be asked often.
    pub fn is_frozen(&self, caller: &CallerId) -> bool {
        let hits = |frozen: &ArcSwapOption<Frozen>| {
            frozen.load().as_deref().is_some_and(|frozen| frozen.said.scope.includes(caller))
        };
        hits(&self.0.by_operator) || hits(&self.0.by_file)
    }

    /// Returns the freezes in force, with the name of their origin.
    pub fn in_force(&self) -> Vec<(&'static str, Arc<Frozen>)> {
        let both = [("operator", &self.0.by_operator), ("file", &self.0.by_file)];
        both.into_iter().filter_map(|(by, frozen)| Some((by, frozen.load_full()?))).collect()
    }

    /// Adds an operator's freeze to those in force.
    pub fn add(&self, said: &FreezeEntry) {
        self.0.by_operator.rcu(|before| {
            let since = before.as_ref().map_or_else(clock::now, |before| before.since);
            let said = said.with(before.as_ref().map(|before| &before.said));
            Some(Arc::new(Frozen { since, said }))
        });
    }

    /// Removes callers from the operators' freeze.
    ///
    /// # Errors
    /// [`AllCallersFrozen`]. Then nothing is changed.
    pub fn remove(&self, scope: &FreezeScope) -> Result<(), AllCallersFrozen> {
        let mut result = Ok(());
        self.0.by_operator.rcu(|before| {
            let before = before.as_ref()?;
            let left = before.said.without(scope);
            result = left.as_ref().map(|_| ()).map_err(|error| *error);
            match left {
                Ok(said) => said.map(|said| Arc::new(Frozen { since: before.since, said })),
                Err(AllCallersFrozen) => Some(Arc::clone(before)),
            }
        });
        result
    }

    /// Waits for others that read the freeze file. To be held from reading it until [`Self::by_file`] is done.
    pub fn file_turn(&self) -> MutexGuard<'_, ()> {
        self.0.file_turn.lock()
    }

    /// Sets the file's freeze. Returns whether it changed.
    pub fn by_file(&self, said: Option<FreezeEntry>) -> bool {
        let is_news = self.0.by_file.load().as_deref().map(|frozen| &frozen.said) != said.as_ref();
        if is_news {
            self.0.by_file.store(said.map(|said| Arc::new(Frozen { since: clock::now(), said })));
        }
        is_news
    }
}

impl FreezeScope {
    /// Returns the names of the callers; empty for all.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Everybody => Vec::new(),
            Self::Callers(callers) => {
                let mut names: Vec<_> = callers.iter().map(CallerId::as_str).collect();
                names.sort_unstable();
                names
            }
        }
    }

    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Callers(some), Self::Callers(others)) => Self::Callers(some | others),
            (Self::Everybody, _) | (_, Self::Everybody) => Self::Everybody,
        }
    }

    /// Removes callers. `None` if nobody is left.
    fn without(&self, other: &Self) -> Result<Option<Self>, AllCallersFrozen> {
        match (self, other) {
            (_, Self::Everybody) => Ok(None),
            (Self::Everybody, Self::Callers(_)) => Err(AllCallersFrozen),
            (Self::Callers(some), Self::Callers(others)) => {
                let left = some - others;
                Ok((!left.is_empty()).then_some(Self::Callers(left)))
            }
        }
    }

    fn includes(&self, caller: &CallerId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Callers(callers) => callers.contains(caller),
        }
    }
}

impl fmt::Display for FreezeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Callers(_) => f.write_str(&self.names().join(" ")),
        }
    }
}

/// Single callers cannot be removed from a freeze of all callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("everybody is frozen: unfreeze everybody, then freeze the callers you mean")]
pub struct AllCallersFrozen;

impl FreezeEntry {
    /// Merges it with an earlier freeze.
    pub(super) fn with(&self, before: Option<&Self>) -> Self {
        let scope = before.map_or_else(|| self.scope.clone(), |before| self.scope.and(&before.scope));
        let reason = self.reason.clone().or_else(|| before.and_then(|before| before.reason.clone()));
        Self { scope, reason, ..self.clone() }
    }

    /// Removes callers from it. `None` if nobody is left.
    pub(super) fn without(&self, scope: &FreezeScope) -> Result<Option<Self>, AllCallersFrozen> {
        Ok(self.scope.without(scope)?.map(|scope| Self { scope, ..self.clone() }))
    }

    /// Freezes all callers, to be safe.
    pub fn everybody_for(problem: String) -> Self {
        Self { problem: Some(problem), ..Self::of(FreezeScope::Everybody) }
    }

    pub(super) fn of(scope: FreezeScope) -> Self {
        Self { scope, reason: None, uid: None, time: None, problem: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_operators_froze_is_unfrozen_one_by_one_or_all_at_once() {
        let of = |names: &[&str]| match names {
            [] => FreezeScope::Everybody,
            names => FreezeScope::Callers(names.iter().map(|name| CallerId::parse(name).unwrap()).collect()),
        };
        let (freeze, [a, b, c]) =
            (Freeze::default(), ["a", "b", "c"].map(|name| CallerId::parse(name).unwrap()));
        let frozen = || [&a, &b, &c].map(|caller| freeze.is_frozen(caller));
        freeze.add(&FreezeEntry { reason: Some("drill".into()), ..FreezeEntry::of(of(&["a"])) });
        freeze.add(&FreezeEntry::of(of(&["b"])));
        assert_eq!(frozen(), [true, true, false]);
        assert_eq!(freeze.in_force()[0].1.said.reason.as_deref(), Some("drill"));
        freeze.remove(&of(&["a", "c"])).unwrap();
        assert_eq!(frozen(), [false, true, false]);
        freeze.add(&FreezeEntry::of(FreezeScope::Everybody));
        assert_eq!(freeze.remove(&of(&["b"])), Err(AllCallersFrozen));
        assert_eq!(frozen(), [true; 3]);
        freeze.remove(&FreezeScope::Everybody).unwrap();
        assert!(frozen() == [false; 3] && freeze.in_force().is_empty());
        freeze.remove(&of(&["b"])).unwrap();
    }
}

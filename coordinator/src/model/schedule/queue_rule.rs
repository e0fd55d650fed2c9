//! What operators decide about a queue, and whether the queues together make a tree.

use std::collections::BTreeMap;

use kindred_proto::{
    job_spec::{DEFAULT_QUEUE, is_word},
    v1,
};
use serde::Deserialize;

/// Weights are at least and at most this.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1000;

/// What operators decide about a queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueRule {
    /// The queue that it is a part of; none: it is at the top.
    pub parent: Option<String>,
    /// Its share beside those with the same parent; none: 1.
    pub weight: Option<u32>,
    /// Processors that it gets back from those that borrowed them; none: what its children are guaranteed.
    pub guaranteed_cpu: Option<u32>,
    /// GPUs that it gets back; none: as with processors.
    pub guaranteed_cuda: Option<u32>,
    /// Processors that its jobs use at a time; none: no limit.
    pub max_cpu: Option<u32>,
    /// GPUs that its jobs use at a time; none: no limit.
    pub max_cuda: Option<u32>,
    /// Whether it may use more than it is guaranteed, while others do not need it.
    pub borrow: bool,
}

impl Default for QueueRule {
    fn default() -> Self {
        Self {
            parent: None,
            weight: None,
            guaranteed_cpu: None,
            guaranteed_cuda: None,
            max_cpu: None,
            max_cuda: None,
            borrow: true,
        }
    }
}

impl QueueRule {
    /// What it is guaranteed of a kind of device, if that is said.
    pub fn guaranteed(&self, kind: v1::DeviceKind) -> Option<u32> {
        if kind == v1::DeviceKind::Cuda { self.guaranteed_cuda } else { self.guaranteed_cpu }
    }

    /// What it may use of a kind of device at most, if that is said.
    pub fn max(&self, kind: v1::DeviceKind) -> Option<u32> {
        if kind == v1::DeviceKind::Cuda { self.max_cuda } else { self.max_cpu }
    }

    /// Whether queues take turns by their shares where one says this.
    pub(super) fn is_about_shares(&self) -> bool {
        self.weight.is_some() || self.guaranteed_cpu.is_some() || self.guaranteed_cuda.is_some()
    }
}

/// The first thing that is wrong with these queues: the field, what is wrong, and what to do about it.
pub(super) fn check(queues: &BTreeMap<String, QueueRule>) -> Result<(), String> {
    for (name, rule) in queues {
        check_alone(name, rule)?;
        check_parent(queues, name, rule)?;
    }
    // Only now is it known to be a tree.
    queues.keys().try_for_each(|name| check_sums(queues, name))
}

fn check_alone(name: &str, rule: &QueueRule) -> Result<(), String> {
    if !is_word(name) {
        return Err(format!(
            "queues: {name:?} is no name that jobs can use: give it 1 to 63 lower-case letters, digits and inner hyphens; \
             its place in the tree is its `parent`"
        ));
    }
    if let Some(weight) = rule.weight.filter(|weight| !WEIGHTS.contains(weight)) {
        let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
        return Err(format!(
            "queues.{name}.weight: must be {least} to {most}, not {weight}: a queue that is to have nothing has max_cpu: 0 and max_cuda: 0"
        ));
    }
    Ok(())
}

fn check_parent(queues: &BTreeMap<String, QueueRule>, name: &str, rule: &QueueRule) -> Result<(), String> {
    let Some(parent) = &rule.parent else { return Ok(()) };
    if parent == DEFAULT_QUEUE {
        return Err(format!(
            "queues.{name}.parent: {DEFAULT_QUEUE} has the jobs that name no queue, and so no children: name another one"
        ));
    }
    if !queues.contains_key(parent) {
        let names: Vec<&str> = queues.keys().map(String::as_str).filter(|other| *other != name).collect();
        return Err(format!(
            "queues.{name}.parent: there is no queue {parent:?}: add it, or name one of {}",
            names.join(", ")
        ));
    }
    let mut line = vec![name];
    while let Some(next) = queues.get(line[line.len() - 1]).and_then(|rule| rule.parent.as_deref()) {
        let is_seen = line.contains(&next);
        line.push(next);
        if is_seen {
            return Err(format!(
                "queues.{name}.parent: {} leads back to where it was: leave out one of these parents",
                line.join(" in ")
            ));
        }
    }
    Ok(())
}

/// What a queue is guaranteed fits into what it may use, and holds what its children are guaranteed.
fn check_sums(queues: &BTreeMap<String, QueueRule>, name: &str) -> Result<(), String> {
    let rule = &queues[name];
    let mut is_guaranteed_any = false;
    for (kind, word) in [(v1::DeviceKind::Cpu, "cpu"), (v1::DeviceKind::Cuda, "cuda")] {
        let of_children = of_children(queues, name, kind);
        let guaranteed = guaranteed(queues, name, kind);
        is_guaranteed_any |= guaranteed > 0;
        if of_children > guaranteed {
            return Err(format!(
                "queues.{name}.guaranteed_{word}: its children are guaranteed {of_children}, more than its {guaranteed}: \
                 raise it to {of_children}, or lower theirs"
            ));
        }
        let Some(max) = rule.max(kind).filter(|max| guaranteed > u64::from(*max)) else { continue };
        let (field, whose) = match rule.guaranteed(kind) {
            Some(_) => (format!("guaranteed_{word}"), "it is"),
            None => (format!("max_{word}"), "its children are"),
        };
        return Err(format!(
            "queues.{name}.{field}: {whose} guaranteed {guaranteed} and may use {max} at most: raise max_{word}, or lower what is guaranteed"
        ));
    }
    if !rule.borrow && !is_guaranteed_any {
        return Err(format!(
            "queues.{name}.borrow: false leaves it nothing, since it is guaranteed nothing: say guaranteed_cpu or guaranteed_cuda"
        ));
    }
    Ok(())
}

fn guaranteed(queues: &BTreeMap<String, QueueRule>, name: &str, kind: v1::DeviceKind) -> u64 {
    let own = queues[name].guaranteed(kind).map(u64::from);
    own.unwrap_or_else(|| of_children(queues, name, kind))
}

fn of_children(queues: &BTreeMap<String, QueueRule>, name: &str, kind: v1::DeviceKind) -> u64 {
    let children = queues.iter().filter(|(_, rule)| rule.parent.as_deref() == Some(name));
    children.map(|(child, _)| guaranteed(queues, child, kind)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let queues: BTreeMap<String, QueueRule> = serde_yaml_ng::from_str(text).expect("well formed");
        check(&queues).expect_err("it is wrong")
    }

    #[test]
    fn a_tree_whose_numbers_fit_is_taken() {
        let text = "
            default: {weight: 1}
            research: {weight: 3, guaranteed_cuda: 24, max_cuda: 64}
            vision: {parent: research, guaranteed_cuda: 16, borrow: false}
            language: {parent: research, guaranteed_cuda: 8, max_cuda: 8}";
        let queues: BTreeMap<String, QueueRule> = serde_yaml_ng::from_str(text).expect("well formed");
        assert_eq!(check(&queues), Ok(()));
    }

    #[test]
    fn what_is_wrong_names_the_field_and_the_fix() {
        for (text, told) in [
            (
                "{a: {weight: 0}}",
                "queues.a.weight: must be 1 to 1000, not 0: a queue that is to have nothing has max_cpu: 0 and max_cuda: 0",
            ),
            ("{a: {}, b: {parent: c}}", "queues.b.parent: there is no queue \"c\": add it, or name one of a"),
            (
                "{a: {parent: c}, b: {parent: a}, c: {parent: b}}",
                "queues.a.parent: a in c in b in a leads back to where it was: leave out one of these parents",
            ),
            (
                "{a: {parent: a}}",
                "queues.a.parent: a in a leads back to where it was: leave out one of these parents",
            ),
            (
                "{a: {parent: default}, default: {}}",
                "queues.a.parent: default has the jobs that name no queue, and so no children: name another one",
            ),
            (
                "{a: {guaranteed_cuda: 8}, b: {parent: a, guaranteed_cuda: 6}, c: {parent: a, guaranteed_cuda: 4}}",
                "queues.a.guaranteed_cuda: its children are guaranteed 10, more than its 8: raise it to 10, or lower theirs",
            ),
            (
                "{a: {guaranteed_cpu: 8, max_cpu: 4}}",
                "queues.a.guaranteed_cpu: it is guaranteed 8 and may use 4 at most: raise max_cpu, or lower what is guaranteed",
            ),
            (
                "{a: {max_cpu: 4}, b: {parent: a, guaranteed_cpu: 6}}",
                "queues.a.max_cpu: its children are guaranteed 6 and may use 4 at most: raise max_cpu, or lower what is guaranteed",
            ),
            (
                "{a: {borrow: false}}",
                "queues.a.borrow: false leaves it nothing, since it is guaranteed nothing: say guaranteed_cpu or guaranteed_cuda",
            ),
            (
                "{research/vision: {}}",
                "queues: \"research/vision\" is no name that jobs can use: give it 1 to 63 lower-case letters, digits and inner \
                 hyphens; its place in the tree is its `parent`",
            ),
        ] {
            assert_eq!(refusal(text), told);
        }
    }
}

//! A job's optimiser: one rule, over groups of parameters with like settings.

use kindred_bridge::{AdamWStep, Error, LarsStep, SgdStep};
use kindred_proto::{
    job_spec::{SpecError, Violation},
    recipe,
};
use tch::Tensor;

use super::{adamw::AdamW, lars::Lars, parameters::Parameters, sgd::Sgd};

/// How parameters move, and what is kept of their past.
pub(super) trait Rule: Send {
    /// Moves every parameter that has a gradient; the others, and what is kept of them, stay put.
    fn step(&mut self, lr: f64) -> Result<(), Error>;

    /// What a checkpoint carries, as shallow handles.
    fn state(&self) -> Vec<(String, Tensor)>;
}

/// Moves the parameters of a method.
pub struct Optimizer {
    peak: f64,
    groups: Vec<Group>,
}

/// Parameters that take their steps alike.
struct Group {
    settings: Settings,
    rule: Box<dyn Rule>,
}

#[derive(Clone, Copy, PartialEq)]
struct Settings {
    lr_scale: f64,
    has_constant_lr: bool,
    weight_decay: f64,
    /// Whether it goes without weight decay and trust ratio.
    is_excluded: bool,
}

impl Optimizer {
    /// Starts with nothing kept of the past.
    pub fn new(recipe: &recipe::Optimizer, parameters: Vec<(String, Tensor)>) -> Self {
        let mut groups: Vec<(Settings, Vec<(String, Tensor)>)> = Vec::new();
        for (name, parameter) in parameters {
            let settings = Settings::of(recipe, &name, &parameter);
            match groups.iter_mut().find(|(other, _)| *other == settings) {
                Some((_, members)) => members.push((name, parameter)),
                None => groups.push((settings, vec![(name, parameter)])),
            }
        }
        let group = |(settings, members)| {
            let rule = rule(&recipe.rule, &settings, Parameters::new(members));
            Group { settings, rule }
        };
        Self { peak: recipe.lr(), groups: groups.into_iter().map(group).collect() }
    }

    /// Moves every parameter that has a gradient; the others, and what is kept of them, stay put.
    ///
    /// # Errors
    /// When the device is out of memory.
    pub fn step(&mut self, lr: f64) -> Result<(), Error> {
        for Group { settings, rule } in &mut self.groups {
            let lr = if settings.has_constant_lr { self.peak } else { lr };
            rule.step(settings.lr_scale * lr)?;
        }
        Ok(())
    }

    /// What a checkpoint carries, as shallow handles: all that is kept of the past, by parameter.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.groups.iter().flat_map(|group| group.rule.state()).collect()
    }
}

impl Settings {
    fn of(recipe: &recipe::Optimizer, name: &str, parameter: &Tensor) -> Self {
        let group = recipe.groups.iter().find(|group| name.starts_with(&group.prefix));
        let is_excluded = recipe.exclude_1d && parameter.dim() == 1;
        let weight_decay = group.and_then(|group| group.weight_decay).unwrap_or(match &recipe.rule {
            recipe::Rule::Sgd(sgd) => sgd.weight_decay,
            recipe::Rule::Lars(lars) => lars.weight_decay,
            recipe::Rule::AdamW(adamw) => adamw.weight_decay,
        });
        Self {
            lr_scale: group.map_or(1.0, |group| group.lr_scale),
            has_constant_lr: group.is_some_and(|group| group.constant_lr),
            weight_decay: if is_excluded { 0.0 } else { weight_decay },
            is_excluded,
        }
    }
}

fn rule(recipe: &recipe::Rule, settings: &Settings, parameters: Parameters) -> Box<dyn Rule> {
    let weight_decay = settings.weight_decay;
    match *recipe {
        recipe::Rule::Sgd(recipe::Sgd { lr, momentum, nesterov, .. }) => {
            Box::new(Sgd::new(SgdStep { lr, momentum, weight_decay, nesterov }, parameters))
        }
        recipe::Rule::Lars(recipe::Lars { lr, momentum, .. }) if settings.is_excluded => {
            Box::new(Sgd::new(SgdStep { lr, momentum, weight_decay, nesterov: false }, parameters))
        }
        recipe::Rule::Lars(recipe::Lars { lr, momentum, trust_coefficient, .. }) => {
            Box::new(Lars::new(LarsStep { lr, momentum, weight_decay, trust_coefficient }, parameters))
        }
        recipe::Rule::AdamW(recipe::AdamW { lr, beta1, beta2, epsilon, .. }) => {
            Box::new(AdamW::new(AdamWStep { lr, beta1, beta2, epsilon, weight_decay }, parameters))
        }
    }
}

/// Refuses groups that take no parameter: their settings would be lost without a word.
///
/// # Errors
/// Names the first such group, and how parameters are named.
pub fn check_groups(recipe: &recipe::Optimizer, parameters: &[(String, Tensor)]) -> Result<(), SpecError> {
    for (idx, group) in recipe.groups.iter().enumerate() {
        let takes = |name: &str| {
            let first = recipe.groups.iter().position(|group| name.starts_with(&group.prefix));
            first == Some(idx)
        };
        if !parameters.iter().any(|(name, _)| takes(name)) {
            return Err(Violation::new(
                format!("recipe.optimizer.groups[{idx}].prefix"),
                format!(
                    "no parameter is left whose name begins with {:?}: names begin with {}",
                    group.prefix,
                    networks(parameters)
                ),
            )
            .into());
        }
    }
    Ok(())
}

/// The first two parts of the names, branch and network, each once.
fn networks(parameters: &[(String, Tensor)]) -> String {
    let network = |(name, _): &(String, Tensor)| {
        let end = name.match_indices('.').nth(1).map_or(name.len(), |(dot, _)| dot + 1);
        name[..end].to_owned()
    };
    let mut networks: Vec<String> = parameters.iter().map(network).collect();
    networks.dedup();
    networks.join(", ")
}

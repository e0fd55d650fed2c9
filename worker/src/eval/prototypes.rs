//! How far images are from their prototypes.
//!
//! An objective that pulls images to prototypes makes those of one prototype fall together; PAUC's abstract calls that
//! coagulation and gives no formula. This is the plain one: the mean squared distance of features of unit length to their
//! k-means centroid, as such and as a share of the variance of all.

use kindred_proto::recipe::evaluation::PrototypeVariance;

use super::{Error, Figures, Session, features::Labelled};
use crate::{collective::kmeans::KMeans, nn::normalize};

/// Clusters the rows and says how far they are from their centroids.
pub(super) fn variance(
    rows: &Labelled,
    settings: &PrototypeVariance,
    session: &Session,
) -> Result<Figures, Error> {
    let own = session.share(rows.labels_n.size()[0]).rows;
    let own_bf = normalize(&rows.rows_nf.narrow(0, own.start as i64, (own.end - own.start) as i64));
    let inertia = |n_clusters, n_iterations, n_starts| {
        let kmeans = KMeans { n_clusters, n_iterations, n_starts, seed: session.seed };
        Ok::<_, Error>(kmeans.cluster(&own_bf, session.collective)?.inertia)
    };
    let within = inertia(settings.prototypes, settings.max_iterations, settings.starts)?;
    let of_all = inertia(1, 1, 1)?;
    (session.tick)(1)?;
    let share = if of_all > 0.0 { within / of_all } else { 0.0 };
    Ok(vec![("", within), ("share", share)])
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::collective::{Collective, on_threads};

    /// Unit rows in four directions, `spread` apart within each.
    fn rows(spread: f64) -> Labelled {
        let options = (Kind::Double, Device::Cpu);
        let angle_n = Tensor::arange(80, options).remainder(4) * std::f64::consts::FRAC_PI_2
            + (Tensor::arange(80, options) * 12.9898).sin() * spread;
        let labels_n = Tensor::zeros([80], (Kind::Int64, Device::Cpu));
        Labelled { rows_nf: Tensor::stack(&[angle_n.cos(), angle_n.sin()], 1), labels_n }
    }

    fn figures(spread: f64, collective: &Collective) -> Figures {
        let settings = PrototypeVariance { prototypes: 4, max_iterations: 20, starts: 5 };
        variance(&rows(spread), &settings, &Session::alone(collective)).expect("all ranks are here")
    }

    #[test]
    fn images_that_fall_together_have_less_variance() {
        let alone = Collective::single();
        let (loose, tight) = (figures(0.3, &alone), figures(0.01, &alone));
        assert!(tight[0].1 < 1e-4 && loose[0].1 > 0.01, "{tight:?} {loose:?}");
        // The four directions have mean 0, so that the variance of all is 1.
        assert!((loose[0].1 - loose[1].1).abs() < 0.01, "{loose:?}");
    }

    #[test]
    fn any_number_of_ranks_gives_the_same_figures() {
        let alone = figures(0.3, &Collective::single());
        for rank in on_threads(3, |collective| figures(0.3, &collective)) {
            assert!(rank.iter().zip(&alone).all(|(a, b)| (a.1 - b.1).abs() < 1e-12));
        }
    }
}

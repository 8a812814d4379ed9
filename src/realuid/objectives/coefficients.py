"""Checks of coefficients: illegal ones are errors, discouraged ones warnings, each with its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from realuid.errors import ConfigError

if TYPE_CHECKING:
    from realuid.objectives.base import Objective


class UnwiseSettingWarning(UserWarning):
    """A legal setting that the paper or our own measurements advise against."""


def check_alpha_beta(alpha: float, beta: float) -> None:
    """Raise ConfigError unless both lie in (0, 1]."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value <= 1:
            raise ConfigError(
                f"{name} = {value} is outside (0, 1]. Published values lie between 0.85 and 1; above 1 there is the "
                "general objective with gamma < 1, and the mixture objective."
            )


def check_positive(alpha: float, beta: float) -> None:
    """Raise ConfigError unless both are positive, as the general form needs."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} = {value}: the general objective needs a positive number.")


def check_data_weight(data_weight: float) -> None:
    """Raise ConfigError unless lambda lies in [0, 1]."""
    if not 0 <= data_weight <= 1:
        raise ConfigError(f"data_weight = {data_weight} is outside [0, 1]: 0 is the teacher alone, 1 the data alone.")


def spread_ratio(alpha: float, beta: float) -> float:
    """Ratio of the standard deviations of a real and a generated sample's gradient, estimated from (alpha, beta).

    For f near f*, a sample's residual f - c y has c times the deviation of y plus |1 - c| times f*; the variance of y
    given x_t is taken as half that of f*.
    """

    def spread(weight: float, of_target: float) -> float:
        scale = of_target / weight if weight else 0.0
        return math.sqrt(weight**2 * (0.5 * scale**2 + (1 - scale) ** 2)) if weight else abs(of_target)

    return spread(1 - alpha, 1 - beta) / spread(alpha, beta)


def check_alpha_sid(alpha_sid: float) -> None:
    """Raise ConfigError unless alpha_SiD lies in [0.5, 1.2]."""
    if not 0.5 <= alpha_sid <= 1.2:
        raise ConfigError(
            f"alpha_sid = {alpha_sid} is outside [0.5, 1.2]: 0.5 is the true gradient, SiD used 1.0 and 1.2."
        )


def check_ratio(alpha: float, beta: float) -> None:
    """Raise ConfigError if RealUM would divide by 1 - alpha = 0."""
    if alpha == 1 and beta != 1:
        raise ConfigError(
            f"alpha = 1 with beta = {beta}: RealUID divides by 1 - alpha. Use alpha < 1, or the general objective with "
            "gamma < 1."
        )


def check_gamma(alpha: float, beta: float, gamma: float) -> None:
    """Raise ConfigError unless the general form has a maximum in f: gamma in (0, 1], below 1 with real data."""
    if not 0 < gamma <= 1:
        above = " It is alpha where it is left out; with alpha above 1 pass gamma = 0.5." if alpha > 1 else ""
        raise ConfigError(f"gamma = {gamma} is outside (0, 1].{above}")
    if gamma == 1 and not alpha == beta == 1:
        raise ConfigError(
            f"gamma = 1 with alpha = {alpha}, beta = {beta}: on real data nothing would hold the fake model back "
            "(weight 1 - gamma = 0). Use gamma < 1, as in gamma = alpha."
        )


def advice(objective: Objective, fine_tuning: bool = False) -> list[str]:
    """Reasons against legal coefficients, one sentence each; empty if there are none.

    Args:
        objective: with the coefficients.
        fine_tuning: whether a distilled student is fine-tuned.
    """
    alpha, beta = (getattr(objective, name, 1.0) for name in ("alpha", "beta"))
    alpha_sid = getattr(objective, "alpha_sid", 0.5)
    ratio, sentences = beta / alpha, []
    if alpha == beta > 1:
        sentences.append(
            f"alpha = beta = {alpha:g}: the student learns the mixture {1 / alpha:.3g} teacher + "
            f"{1 - 1 / alpha:.3g} data (law 2 in docs/theory.md). objective = mixture with data_weight = "
            f"{1 - 1 / alpha:.3g} is the same without division."
        )
    elif beta > 1:
        sentences.append(
            f"beta = {beta:g}: where the student is near the data, an error of the teacher's is divided by beta (law 1 "
            "in docs/theory.md)."
        )
    if alpha == beta < 1 and objective.needs_ratio:
        sentences.append(
            f"alpha = beta = {alpha} uses real data but adds nothing over alpha = beta = 1: only beta / alpha != 1 "
            "brings a signal where the generator has no mass (Table 1, App. A.1.3)."
        )
    if objective.uses_real_data and alpha_sid > 0.5:
        sentences.append(
            f"alpha_sid = {alpha_sid} together with real data: the paper found it to degrade or destabilise training; "
            "0.5 is the true gradient."
        )
    if not 0.9 <= ratio <= 1.1 and max(alpha, beta) <= 1:
        sentences.append(
            f"beta / alpha = {ratio:.3g}: every published setting lies between 0.92 and 1.08. The further from 1, the "
            "more the student of an exact teacher is pulled away from the data (App. A.1.4)."
        )
    if fine_tuning and alpha != beta and abs(ratio - 1) < 0.03:
        sentences.append(
            f"beta / alpha = {ratio:.3g} did not converge for the paper when fine-tuning; it used 0.92 to 0.96 or 1.04 "
            "to 1.08."
        )
    return sentences

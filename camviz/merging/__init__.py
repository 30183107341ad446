"""Merging: rules, and the maps that they make of several layers' maps."""

from camviz.merging.readings import REFINE_READINGS, refine_as
from camviz.merging.rules import RULES, Rule, rule
from camviz.merging.running_merge import heights, refine, running

__all__ = ["REFINE_READINGS", "RULES", "Rule", "heights", "refine", "refine_as", "rule", "running"]

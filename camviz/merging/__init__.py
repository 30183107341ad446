"""Merging: rules, and the maps that they make of several layers' maps."""

from camviz.merging.rules import RULES, Rule, rule
from camviz.merging.running_merge import heights, refine, running

__all__ = ["RULES", "Rule", "heights", "refine", "rule", "running"]

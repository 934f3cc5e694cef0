"""The catalogue: features, plans in versions, the items of a plan, and the plans it offers as licences."""

from plans.models.features import QUANTITY, CreditCost, Feature
from plans.models.plans import Plan, PlanItem, PlanLicense
from plans.models.terms import BasePrice, ItemTerms

__all__ = ["QUANTITY", "BasePrice", "CreditCost", "Feature", "ItemTerms", "Plan", "PlanItem", "PlanLicense"]

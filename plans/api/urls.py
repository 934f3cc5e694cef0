from django.urls import URLPattern, URLResolver, path

from config.api import by_method
from plans.api import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("features.create", views.CreateFeature.as_view()),
    path("features.get", views.GetFeature.as_view()),
    path("features.list", views.ListFeatures.as_view()),
    path("features.update", views.UpdateFeature.as_view()),
    path("features.delete", views.DeleteFeature.as_view()),
    path("plans.create", views.CreatePlan.as_view()),
    path("plans.get", views.GetPlan.as_view()),
    path("plans.list", views.ListPlans.as_view()),
    path("plans.update", views.UpdatePlan.as_view()),
    path("plans.delete", views.DeletePlan.as_view()),
    path("catalog.preview_update", views.PreviewCatalog.as_view()),
    path("catalog.update", views.UpdateCatalog.as_view()),
    path("referral_programs.list", views.ListReferralPrograms.as_view()),
    # REST, for atmn: it brings archived things back by {"archived": false}, and clears a sandbox by DELETE.
    path("features/<path:feature_id>", by_method(post=views.UpdateFeature, delete=views.DeleteFeature)),
    path("products/<path:plan_id>", by_method(post=views.UpdatePlan, delete=views.DeleteProduct)),
]

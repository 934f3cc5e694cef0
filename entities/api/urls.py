from django.urls import path

from config.api import by_method
from entities.api import views

urlpatterns = [
    path("customers.get_or_create", views.GetOrCreateCustomer.as_view()),
    path("customers.get", views.GetCustomer.as_view()),
    path("customers.list", views.ListCustomers.as_view()),
    path("customers.update", views.UpdateCustomer.as_view()),
    path("customers.delete", views.DeleteCustomer.as_view()),
    path("entities.create", views.CreateEntity.as_view()),
    path("entities.get", views.GetEntity.as_view()),
    path("entities.list", views.ListEntities.as_view()),
    path("entities.update", views.UpdateEntity.as_view()),
    path("entities.delete", views.DeleteEntity.as_view()),
    # The older clients and atmn.
    path("customers", by_method(get=views.ListCustomersByQuery, post=views.CreateCustomerByBody)),
    path("customers/list", views.ListCustomersByOffset.as_view()),
    path("customers/<str:customer_id>", by_method(get=views.GetCustomerByPath, delete=views.DeleteCustomerByPath)),
    path("customers/<str:customer_id>/entities", views.CreateEntityByPath.as_view()),
    path(
        "customers/<str:customer_id>/entities/<str:entity_id>",
        by_method(get=views.GetEntityByPath, delete=views.DeleteEntityByPath),
    ),
]

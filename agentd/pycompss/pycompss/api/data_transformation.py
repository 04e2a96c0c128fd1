"""Not there: a transformation of arguments. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

data_transformation = missing(
    "data_transformation", "a transformation of arguments", "call a task that transforms them"
)
dt = data_transformation
DataTransformation = data_transformation
data_transformation_object = data_transformation
dto = data_transformation
DTO = data_transformation

__all__ = ["DTO", "DataTransformation", "data_transformation", "data_transformation_object", "dt", "dto"]

"""Not there: an OpenCL kernel. Importing it works, using it says what to do."""

from pycompss.api._missing import missing

opencl = missing("opencl", "an OpenCL kernel", "start it from Python, with pyopencl, in a plain task")
Opencl = opencl
OpenCL = opencl

__all__ = ["OpenCL", "Opencl", "opencl"]

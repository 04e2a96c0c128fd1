"""The user port as programs and scripts of COMPSs know it: the paths below `/COMPSs`, XML in, their texts out."""

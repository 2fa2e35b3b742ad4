"""kvmdecl: a declarative cluster-configuration compiler for KVM."""

__version__ = "0.1.0"

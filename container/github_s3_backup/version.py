"""The version of this program, written into every manifest and log."""

TOOL_VERSION = "0.1.0"

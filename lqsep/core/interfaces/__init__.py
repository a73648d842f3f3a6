"""One abstract class per kind of component, each with its facts in a frozen ``info`` value."""

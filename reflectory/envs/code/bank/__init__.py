"""The hand-written exercises: functions with a reference, and chores in a folder of files."""

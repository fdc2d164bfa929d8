"""What a user of the broker sees, by feature, through every door and in every version."""

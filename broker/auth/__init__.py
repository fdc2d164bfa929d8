"""Who may connect, and what they may do: methods say who somebody is, roles what that one may do."""

"""What a person does with an account: stake, vote, register, deposit, prove; each planned and shown first."""

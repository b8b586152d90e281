"""What anybody can say of coordinators by what they published: proofs, and estimates that say that they are such."""

"""What a version shows for itself, in the formats that others read: model card, bill of materials, provenance."""

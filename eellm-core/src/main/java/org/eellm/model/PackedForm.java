package org.eellm.model;

/** What a {@link StoredDecoder}'s weights have become; see {@link StoredDecoder#pack}. */
public interface PackedForm extends AutoCloseable {
  @Override
  void close();
}

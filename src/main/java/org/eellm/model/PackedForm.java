package org.eellm.model;

/** What a {@link Decoder}'s matrices have become for decoding; see {@link Decoder#exchange}. */
public interface PackedForm extends AutoCloseable {
  @Override
  void close();
}

package org.eellm.decode;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.NotSerializableException;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.List;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;

/**
 * A message from the first rank of a tensor-parallel group to the others, so that all take the same
 * steps. The ranks are processes of one job and one program, so requests travel as Java objects:
 * policies and samplers of a caller's own go along, lambdas too.
 */
sealed interface StepMessage extends Serializable {

  /** Nothing else is taken from the bytes, though they come over a connection of the job's own. */
  ObjectInputFilter OWN_CLASSES =
      ObjectInputFilter.Config.createFilter(
          "maxdepth=100;org.eellm.**;java.lang.**;java.util.**;!*");

  record Start(Limits limits) implements StepMessage {}

  /**
   * An engine is about to do a step.
   *
   * @param arrived requests that come in, {@link #encode encoded}, in order; they are numbered from
   *     the engine's start on
   * @param cancelled numbers of requests that end
   */
  record Step(List<byte[]> arrived, List<Integer> cancelled) implements StepMessage {}

  record Stop() implements StepMessage {}

  /** There will be no further engine. */
  record Leave() implements StepMessage {}

  /**
   * A message or a request in bytes.
   *
   * @throws GenerateException if it has parts that cannot travel
   */
  static byte[] encode(Serializable value) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(value);
    } catch (NotSerializableException e) {
      throw new GenerateException(
          "a request cannot travel to the other ranks, for %s is not serializable; use an exit policy and a sampler that are"
              .formatted(e.getMessage()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return bytes.toByteArray();
  }

  /** Reads a value back from the bytes of {@link #encode}. */
  static <T extends Serializable> T decode(Class<T> type, byte[] bytes) {
    try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes))) {
      in.setObjectInputFilter(OWN_CLASSES);
      return type.cast(in.readObject());
    } catch (IOException | ClassNotFoundException e) {
      throw new IllegalStateException("a message of the first rank cannot be read: " + e, e);
    }
  }
}

package org.eellm.decode.strategy;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.GeneratedToken.Alternative;

/**
 * What a later stage of a pipeline tells the first: a token has left there.
 *
 * @param requestId index of the request, the same on all ranks
 * @param attempt in which it was asked for
 * @param position of the token
 */
public record TokenMessage(int requestId, int attempt, int position, GeneratedToken token) {

  public byte[] encode() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(64);
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      out.writeInt(requestId);
      out.writeInt(attempt);
      out.writeInt(position);
      out.writeInt(token.id());
      out.writeUTF(token.head().toString());
      out.writeInt(token.layer());
      out.writeDouble(token.confidence());
      out.writeDouble(token.logProbability());
      out.writeInt(token.alternatives().size());
      for (Alternative alternative : token.alternatives()) {
        out.writeInt(alternative.id());
        out.writeDouble(alternative.logProbability());
      }
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  public static TokenMessage decode(byte[] message) {
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(message))) {
      int requestId = in.readInt();
      int attempt = in.readInt();
      int position = in.readInt();
      int id = in.readInt();
      HeadId head = HeadId.parse(in.readUTF());
      int layer = in.readInt();
      double confidence = in.readDouble();
      double logProbability = in.readDouble();
      List<Alternative> alternatives = new ArrayList<>();
      for (int left = in.readInt(); left > 0; left--) {
        alternatives.add(new Alternative(in.readInt(), in.readDouble()));
      }
      return new TokenMessage(
          requestId,
          attempt,
          position,
          new GeneratedToken(id, head, layer, confidence, logProbability, false, alternatives));
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
  }
}

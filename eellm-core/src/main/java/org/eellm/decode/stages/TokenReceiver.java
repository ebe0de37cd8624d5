package org.eellm.decode.stages;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.decode.strategy.TokenMessage;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.PeerChannel;
import org.eellm.distributed.PeerChannel.Message;
import org.eellm.distributed.World;

/**
 * What the later stages of a pipeline tell the first, in the order it comes. Where the first stage
 * is several ranks, one of them is told and tells the others, so that all do the same.
 */
final class TokenReceiver {
  private final PeerChannel channel;
  private final Communicator tp;
  private final List<Integer> later;
  private final Duration receiveTimeout;

  TokenReceiver(PeerChannel channel, World world) {
    this.channel = channel;
    tp = world.tp();
    later = IntStream.range(1, world.pp().size()).boxed().toList();
    receiveTimeout = world.timeout().dividedBy(4);
  }

  /** Whether a rank of the first stage is the one to listen, or of another the one to tell. */
  static boolean isReceiver(World world) {
    return world.tp().rank() == 0;
  }

  /**
   * What has come since the last call; all ranks of the first stage call this.
   *
   * @param wait whether to wait for something, but not for so long that others miss this rank
   * @throws org.eellm.distributed.DistributedException if a stage has failed or does not answer
   */
  List<TokenMessage> next(boolean wait) {
    // Nobody writes to the others; but those above them hear by this that they are alive.
    List<byte[]> received = received(wait && tp.rank() == 0);
    if (tp.size() > 1) {
      received = split(tp.gatherBytes(join(received)).getFirst());
    }
    return received.stream().map(TokenMessage::decode).toList();
  }

  private List<byte[]> received(boolean wait) {
    List<byte[]> messages = new ArrayList<>();
    Optional<Message> next = wait ? channel.receive(later, receiveTimeout) : channel.poll();
    while (next.isPresent()) {
      messages.add(next.get().bytes());
      next = channel.poll();
    }
    return messages;
  }

  private static byte[] join(List<byte[]> messages) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      for (byte[] message : messages) {
        out.writeInt(message.length);
        out.write(message);
      }
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return bytes.toByteArray();
  }

  private static List<byte[]> split(byte[] joined) {
    List<byte[]> messages = new ArrayList<>();
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(joined))) {
      while (in.available() > 0) {
        messages.add(in.readNBytes(in.readInt()));
      }
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    return messages;
  }
}

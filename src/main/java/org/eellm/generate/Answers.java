package org.eellm.generate;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.eellm.distributed.Communicator;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.Inbox;
import org.eellm.distributed.World;

/**
 * What the later stages of a pipeline tell the first, in the order it comes. Where the first stage
 * is several ranks, one of them listens and tells the others, so that all do the same.
 */
final class Answers {
  /** Bytes of an answer that go at once. */
  static final int SIZE = 256;

  private final World world;
  private final int stages;
  private final BlockingQueue<News> news = new LinkedBlockingQueue<>();
  private int ended;

  /** What a listening thread hears. */
  private sealed interface News {

    record Message(byte[] bytes) implements News {}

    record Failure(RuntimeException cause) implements News {}

    record End() implements News {}
  }

  /** Begins to listen. */
  Answers(World world) {
    this.world = world;
    this.stages = world.pp().size();
    if (isListener(world)) {
      for (int stage = 1; stage < stages; stage++) {
        Inbox inbox = new Inbox(world.pp(), stage, SIZE);
        Thread.ofPlatform().daemon().name("eellm-answers-" + stage).start(() -> listen(inbox));
      }
    }
  }

  /** Whether a rank of the first stage is the one to listen, or of another the one to tell. */
  static boolean isListener(World world) {
    return world.tp().rank() == 0;
  }

  private void listen(Inbox inbox) {
    try (inbox) {
      for (var message = inbox.receive(); message.isPresent(); message = inbox.receive()) {
        if (message.get().length > 0) {
          news.add(new News.Message(message.get()));
        }
      }
      news.add(new News.End());
    } catch (RuntimeException e) {
      news.add(new News.Failure(e));
    }
  }

  /**
   * What has come since the last call; all ranks of the first stage call this.
   *
   * @param wait whether to wait for something, but no longer than {@link NextStage#silence}
   * @throws DistributedException if a stage has failed or does not answer
   */
  List<AnswerMessage> next(boolean wait) {
    Communicator tp = world.tp();
    if (tp.size() == 1) {
      return heard(wait).stream().map(AnswerMessage::decode).toList();
    }
    byte[] mine = isListener(world) ? join(heard(wait)) : new byte[0];
    return split(tp.gatherBytes(mine).getFirst()).stream().map(AnswerMessage::decode).toList();
  }

  private List<byte[]> heard(boolean wait) {
    List<byte[]> messages = new ArrayList<>();
    if (wait && news.isEmpty()) {
      try {
        News first = news.poll(NextStage.silence(world).toNanos(), TimeUnit.NANOSECONDS);
        if (first != null) {
          add(first, messages);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new GenerateException("interrupted while waiting for other ranks");
      }
    }
    for (News further = news.poll(); further != null; further = news.poll()) {
      add(further, messages);
    }
    return messages;
  }

  private void add(News heard, List<byte[]> messages) {
    switch (heard) {
      case News.Message(byte[] bytes) -> messages.add(bytes);
      case News.Failure(RuntimeException cause) -> throw cause;
      case News.End() -> ended++;
    }
  }

  /** Waits until all stages have said their last; those who listen call this. */
  void awaitEnd() {
    while (isListener(world) && ended < stages - 1) {
      heard(true);
    }
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

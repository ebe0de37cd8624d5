package org.eellm.distributed.message;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.message.PeerChannel.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Letters between ranks that are threads. */
@Timeout(60)
final class PeerChannelTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofSeconds(2);

  private static <T> List<T> onRanks(int ranks, Duration timeout, Function<World, T> body) {
    return InProcessRanks.run(new Mesh(1, 1, ranks), 1, timeout, body);
  }

  private static List<Integer> others(World world) {
    return IntStream.range(0, world.pp().size())
        .filter(stage -> stage != world.pp().rank())
        .boxed()
        .toList();
  }

  private static Message await(PeerChannel channel, List<Integer> from) {
    Optional<Message> message = Optional.empty();
    while (message.isEmpty()) {
      message = channel.receive(from, LONG);
    }
    return message.get();
  }

  /** A message of some length that says which it is. */
  private static byte[] message(int from, int to, int number) {
    int length = new Random(number).nextInt(12) == 0 ? 3_000_000 : 12 + number;
    return ByteBuffer.allocate(length).putInt(from).putInt(to).putInt(number).array();
  }

  @Test
  void receive_manyLettersAllWays_comeWholeAndInOrder() {
    int count = 40;
    List<Integer> received =
        onRanks(
            3,
            LONG,
            world -> {
              int own = world.pp().rank();
              try (PeerChannel channel = world.stageChannel()) {
                for (int number = 0; number < count; number++) {
                  for (int peer : others(world)) {
                    channel.send(peer, message(own, peer, number)); // nobody reads yet
                  }
                }
                int[] next = new int[3];
                for (int left = 2 * count; left > 0; left--) {
                  Message message = await(channel, others(world));
                  assertThat(
                          Arrays.equals(
                              message.bytes(),
                              message(message.from(), own, next[message.from()]++)))
                      .isTrue();
                }
                channel.end();
                return IntStream.of(next).sum();
              }
            });

    assertThat(received).containsOnly(2 * count);
  }

  @Test
  void receive_nobodyWrites_isEmptyAfterTheTimeGiven() {
    onRanks(
        2,
        SHORT,
        world -> {
          try (PeerChannel channel = world.stageChannel()) {
            assertThat(channel.poll()).isEmpty();
            long until = System.nanoTime() + 2 * SHORT.toNanos();
            while (System.nanoTime() < until) { // longer than ranks may be silent
              assertThat(channel.receive(others(world), Duration.ofMillis(300))).isEmpty();
            }
            channel.end();
            return true;
          }
        });
  }

  @Test
  void receive_aRankEndsInTheMiddle_isNamed() {
    assertThatThrownBy(
            () ->
                onRanks(
                    3,
                    LONG,
                    world -> {
                      try (PeerChannel channel = world.stageChannel()) {
                        if (world.rank() == 1) {
                          throw new IllegalStateException("out of sorts");
                        }
                        return await(channel, List.of(1));
                      }
                    }))
        .isInstanceOf(DistributedException.class)
        .hasMessage("rank 1 (tp 0, dp 0, pp 1): out of sorts");
  }

  @Test
  void pollIdle_aRankEndsWhileNothingIsWaitedFor_isNamed() {
    assertThatThrownBy(
            () ->
                onRanks(
                    2,
                    LONG,
                    world -> {
                      try (PeerChannel channel = world.stageChannel()) {
                        if (world.rank() == 1) {
                          throw new IllegalStateException("out of sorts");
                        }
                        while (true) {
                          assertThat(channel.pollIdle()).isEmpty();
                          LockSupport.parkNanos(1_000_000);
                        }
                      }
                    }))
        .isInstanceOf(DistributedException.class)
        .hasMessage("rank 1 (tp 0, dp 0, pp 1): out of sorts");
  }

  @Test
  void receive_aRankComputesForTooLong_isNamed() {
    List<String> verdicts =
        onRanks(
            2,
            SHORT,
            world -> {
              try (PeerChannel channel = world.stageChannel()) {
                if (world.rank() == 1) {
                  long until = System.nanoTime() + 2 * SHORT.toNanos();
                  while (System.nanoTime() < until) {
                    Thread.onSpinWait(); // alive, as far as its heartbeat goes
                  }
                  return "";
                }
                try {
                  return await(channel, List.of(1)).toString();
                } catch (DistributedException e) {
                  return String.valueOf(e.getMessage());
                }
              }
            });

    assertThat(verdicts.getFirst())
        .startsWith("peer channel from rank 1 (tp 0, dp 0, pp 1) was not done within 2.0 s: ")
        .contains("rank 1 (tp 0, dp 0, pp 1) is alive");
  }

  @Test
  void receive_aThreadThatIsInterrupted_endsAtOnce() {
    onRanks(
        2,
        LONG,
        world -> {
          try (PeerChannel channel = world.stageChannel()) {
            Thread.currentThread().interrupt();
            assertThatThrownBy(() -> channel.receive(others(world), LONG))
                .isInstanceOf(DistributedException.class)
                .hasMessageStartingWith("interrupted in peer channel from rank ");
            assertThat(Thread.interrupted()).isTrue();
            channel.end();
            return true;
          }
        });
  }

  @Test
  void receive_aRankEndsWhileThisOneIsInterrupted_isNamedAndTheInterruptKept() {
    List<Boolean> interrupted = new CopyOnWriteArrayList<>();
    assertThatThrownBy(
            () ->
                onRanks(
                    2,
                    LONG,
                    world -> {
                      try (PeerChannel channel = world.stageChannel()) {
                        if (world.rank() == 1) {
                          throw new IllegalStateException("out of sorts");
                        }
                        Thread.currentThread().interrupt();
                        try {
                          while (true) {
                            channel.send(1, new byte[1_000_000]);
                          }
                        } catch (DistributedException e) {
                          interrupted.add(Thread.interrupted());
                          assertThat(e).hasMessageContaining("rank 1 (tp 0, dp 0, pp 1)");
                          throw e;
                        }
                      }
                    }))
        .isInstanceOf(DistributedException.class)
        .hasMessage("rank 1 (tp 0, dp 0, pp 1): out of sorts");

    assertThat(interrupted).containsExactly(true);
  }

  /** Where another listens, and what shows it that one is a member. */
  private record Address(String host, int port, byte[] secret) {
    static Address ofFirst(World world) {
      byte[] told = world.pp().gatherBytes(new byte[0]).getFirst();
      String[] parts = new String(told, StandardCharsets.UTF_8).split(" ", 3);
      return new Address(parts[2], Integer.parseInt(parts[1]), HexFormat.of().parseHex(parts[0]));
    }

    Socket call() throws IOException {
      return new Socket(host, port);
    }
  }

  @Test
  void open_aStrangerCalls_isTurnedAway() {
    List<Integer> read =
        onRanks(
            2,
            LONG,
            world -> {
              try {
                if (world.rank() == 0) {
                  var channels = PeerConnections.open(world.pp(), "127.0.0.1", LONG);
                  assertThat(channels).containsOnlyKeys(1);
                  return channels.values().iterator().next().socket().getInputStream().read();
                }
                Address first = Address.ofFirst(world);
                try (Socket stranger = first.call()) {
                  stranger.getOutputStream().write(new byte[first.secret().length + Integer.BYTES]);
                  assertThat(closed(stranger)).isTrue();
                }
                try (Socket member = first.call()) {
                  member.getOutputStream().write(first.secret());
                  member.getOutputStream().write(new byte[] {0, 0, 0, 1, 42});
                }
                return 0;
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            });

    assertThat(read).containsExactly(42, 0);
  }

  @Test
  void open_aMemberDoesNotCome_endsTheConnectionsThatAreThere() {
    onRanks(
        3,
        LONG,
        world -> {
          try {
            if (world.rank() == 0) {
              assertThatThrownBy(() -> PeerConnections.open(world.pp(), "127.0.0.1", SHORT))
                  .isInstanceOf(SocketTimeoutException.class);
              return true;
            }
            Address first = Address.ofFirst(world);
            if (world.rank() == 1) {
              try (Socket member = first.call()) {
                member.setSoTimeout((int) LONG.toMillis());
                member.getOutputStream().write(first.secret());
                member.getOutputStream().write(new byte[] {0, 0, 0, 1});
                assertThat(member.getInputStream().read()).isNegative();
              }
            }
            return true;
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  /** Whether the other side ends a connection, of which it has not read all. */
  private static boolean closed(Socket socket) {
    try {
      return socket.getInputStream().read() < 0;
    } catch (IOException _) {
      return true;
    }
  }
}

package org.eellm.distributed.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Messages between two ranks, here of one thread, through one piece of memory. */
@Timeout(60)
final class SharedMessagesTest {
  private final MemorySegment memory = Arena.ofAuto().allocate(SharedMessages.bytes(2), Long.BYTES);
  private final SharedMessages first = new SharedMessages(memory, 0, 2);
  private final SharedMessages second = new SharedMessages(memory, 1, 2);

  private static MemorySegment random(int bytes, int seed) {
    byte[] values = new byte[bytes];
    new Random(seed).nextBytes(values);
    return MemorySegment.ofArray(values);
  }

  private static MemorySegment empty(long bytes) {
    return MemorySegment.ofArray(new byte[(int) bytes]);
  }

  private static byte[] bytes(MemorySegment segment) {
    return segment.toArray(ValueLayout.JAVA_BYTE);
  }

  private Transfer receive(int tag, MemorySegment into) {
    return second.receive(0, tag, into.byteSize(), PartSink.copyTo(into));
  }

  private void advanceUntilDone(Transfer transfer) {
    while (!transfer.isDone()) {
      first.advance(false);
      second.advance(false);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 15, 16, 17, 4096, 262_143, 262_145, 5_000_003, 20_000_000})
  void receive_ofAnyLength_hasTheBytesSent(int length) {
    MemorySegment message = random(length, length);
    MemorySegment arrived = empty(length);
    first.send(1, 3, message);
    advanceUntilDone(receive(3, arrived));

    assertThat(bytes(arrived)).isEqualTo(bytes(message));
  }

  @Test
  void receive_ofManyThatGoAroundTheRing_hasTheBytesSent() {
    Random random = new Random(1);
    for (int round = 0; round < 2000; round++) {
      int length = 1 + random.nextInt(30_000);
      MemorySegment message = random(length, round);
      MemorySegment arrived = empty(length);
      first.send(1, round, message);
      advanceUntilDone(receive(round, arrived));
      assertThat(arrived.mismatch(message)).as("message %d", round).isEqualTo(-1);
    }
  }

  @Test
  void send_thatNobodyTakes_isDoneAsSoonAsItIsInTheRing() {
    assertThat(first.send(1, 0, random(1000, 1)).isDone()).isTrue();
    assertThat(first.send(1, 0, random(10_000_000, 1)).isDone()).isFalse();
  }

  @Test
  void send_withoutRoom_goesOnInTheBackground() throws InterruptedException {
    MemorySegment message = random(20_000_000, 2);
    MemorySegment arrived = empty(message.byteSize());
    first.send(1, 0, message);
    Transfer transfer = receive(0, arrived);
    while (!transfer.isDone()) { // without first.advance
      second.advance(false);
      TimeUnit.MICROSECONDS.sleep(100);
    }

    assertThat(arrived.mismatch(message)).isEqualTo(-1);
  }

  @Test
  void receive_ofTagsInAnotherOrder_matchesByTag() {
    MemorySegment large = random(6_000_000, 3);
    MemorySegment small = random(100, 4);
    first.send(1, 1, large);
    first.send(1, 2, small);
    MemorySegment arrived = empty(100);
    Transfer transfer = receive(2, arrived);
    while (!transfer.isDone()) {
      second.advance(true);
    }
    MemorySegment others = empty(large.byteSize());
    advanceUntilDone(receive(1, others));

    assertThat(arrived.mismatch(small)).isEqualTo(-1);
    assertThat(others.mismatch(large)).isEqualTo(-1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void receive_intoASink_getsAllPartsInOrder(boolean early) {
    MemorySegment message = random(1_000_000, 7);
    first.send(1, 1, message);
    second.advance(early);
    MemorySegment arrived = empty(message.byteSize());
    AtomicLong next = new AtomicLong();
    advanceUntilDone(
        second.receive(
            0,
            1,
            message.byteSize(),
            (offset, part) -> {
              assertThat(offset).isEqualTo(next.getAndAdd(part.byteSize()));
              assertThat(offset % 16).isZero();
              arrived.asSlice(offset).copyFrom(part);
            }));

    assertThat(next).hasValue(message.byteSize());
    assertThat(arrived.mismatch(message)).isEqualTo(-1);
  }

  @Test
  void advance_ofWhatNobodyExpects_leavesItInTheRing() {
    first.send(1, 1, random(100, 5));

    assertThat(second.advance(false)).isFalse();
    assertThat(second.advance(true)).isTrue();
    assertThat(second.advance(true)).isFalse();
  }

  @Test
  void receive_ofSeveralWithOneTag_keepsTheirOrder() {
    for (byte i = 0; i < 5; i++) {
      first.send(1, 9, MemorySegment.ofArray(new byte[] {i}));
      second.advance(i < 2); // two of them come early
    }
    for (byte i = 0; i < 5; i++) {
      MemorySegment arrived = empty(1);
      advanceUntilDone(receive(9, arrived));
      assertThat(bytes(arrived)).containsExactly(i);
    }
  }

  @Test
  void receive_ofAnotherLength_isRefused() {
    first.send(1, 7, random(10, 6));
    receive(7, empty(12));

    assertThatThrownBy(() -> second.advance(false))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the message with tag 7 has 10 bytes, but 12 were to be received");
  }

  @Test
  void close_amidAMessage_touchesTheTargetNoMore() {
    MemorySegment arrived = empty(8_000_000);
    first.send(1, 0, random(8_000_000, 7));
    Transfer transfer = receive(0, arrived);
    second.close();
    arrived.fill((byte) 0);

    assertThat(second.advance(true)).isFalse();
    assertThat(transfer.isDone()).isFalse();
    assertThat(bytes(arrived)).containsOnly(0);
  }

  @Test
  void create_leavesAFileThatOthersMap() throws IOException {
    assumeThat(SharedMemory.isSupported()).as("this system has no /dev/shm").isTrue();
    Path file = SharedMemory.create(3_000_000);
    MemorySegment one = SharedMemory.map(file, 3_000_000);
    MemorySegment other = SharedMemory.map(file, 3_000_000);
    Files.delete(file);
    one.set(ValueLayout.JAVA_LONG, 2_999_992, 42);

    assertThat(other.get(ValueLayout.JAVA_LONG, 2_999_992)).isEqualTo(42);
    assertThat(one.get(ValueLayout.JAVA_LONG, 0)).isZero();
    assertThatThrownBy(() -> SharedMemory.map(file, 3_000_000)).isInstanceOf(IOException.class);
  }
}

package org.eellm.distributed.collective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.NativeAllocation;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every operation among 2 to 4 ranks, against plain arithmetic on values that bf16 holds. */
@ParameterizedClass
@EnumSource(
    value = DistributedBackend.class,
    names = {"CPU", "GLOO"})
final class CommunicatorTest {
  private final DistributedBackend backend;

  CommunicatorTest(DistributedBackend backend) {
    this.backend = backend;
  }

  /** Each number of ranks and each type: a rendezvous takes much longer than what it is for. */
  static Stream<Arguments> sizesAndTypes() {
    return Stream.of(
        Arguments.of(2, ScalarType.Float),
        Arguments.of(3, ScalarType.BFloat16),
        Arguments.of(4, ScalarType.Long));
  }

  /** What every rank gets of {@code body}, with all ranks in one group. */
  private List<List<Long>> onRanks(int size, Function<Communicator, Tensor> body) {
    return run(
        new Mesh(1, size, 1),
        world -> {
          try (Scope scope = Scope.open()) {
            return longs(body.apply(world.all()));
          }
        });
  }

  private <T> List<T> run(Mesh mesh, Function<World, T> body) {
    return InProcessRanks.run(
        mesh,
        1,
        Duration.ofMinutes(2),
        store -> new CommunicatorFactory(backend, store, 0),
        (_, group) -> group,
        body);
  }

  private static List<Long> longs(Tensor tensor) {
    List<Long> values = new ArrayList<>();
    for (long value : Tensors.toLongs(tensor)) {
      values.add(value);
    }
    return values;
  }

  private static Tensor tensor(ScalarType type, long... values) {
    return Tensors.ofLongs(values, Torch.cpu(), values.length).to(Torch.cpu(), type);
  }

  private static Tensor zeros(ScalarType type, long... shape) {
    return Tensors.zeros(type, Torch.cpu(), shape);
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void allReduce_sum_isTheSumOnEveryRank(int size, ScalarType type) {
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              Tensor mine = tensor(type, ranks.rank(), 10, -1);
              ranks.allReduce(mine, Reduction.SUM).await();
              return mine;
            });

    long sum = size * (size - 1L) / 2;
    assertThat(results).hasSize(size).containsOnly(List.of(sum, 10L * size, (long) -size));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void allReduce_ofMoreThanIsSentWhole_isTheSumOnEveryRank(int size) {
    int values = 50_001; // which no number of ranks here divides
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              long[] mine = LongStream.range(0, values).map(i -> i * (ranks.rank() + 1)).toArray();
              Tensor tensor = tensor(ScalarType.Long, mine);
              ranks.allReduce(tensor, Reduction.SUM).await();
              return tensor;
            });

    long factor = size * (size + 1L) / 2;
    List<Long> sums = LongStream.range(0, values).map(i -> i * factor).boxed().toList();
    assertThat(results).hasSize(size).allSatisfy(its -> assertThat(its).isEqualTo(sums));
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void allReduce_extremes_areTheExtremesOnEveryRank(int size, ScalarType type) {
    Function<Reduction, List<List<Long>>> reduced =
        reduction ->
            onRanks(
                size,
                ranks -> {
                  Tensor mine = tensor(type, ranks.rank(), -ranks.rank());
                  ranks.allReduce(mine, reduction).await();
                  return mine;
                });

    assertThat(reduced.apply(Reduction.MAX)).containsOnly(List.of(size - 1L, 0L));
    assertThat(reduced.apply(Reduction.MIN)).containsOnly(List.of(0L, 1L - size));
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void reduceScatter_leavesEachRankItsPartOfTheSum(int size, ScalarType type) {
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              Tensor rows = zeros(type, size, 2);
              for (int row = 0; row < size; row++) {
                rows.narrow(0, row, 1).copy_(tensor(type, row, ranks.rank()));
              }
              Tensor part = zeros(type, 1, 2);
              ranks.reduceScatter(part, rows).await();
              return part;
            });

    for (int rank = 0; rank < size; rank++) {
      assertThat(results.get(rank)).containsExactly((long) rank * size, size * (size - 1L) / 2);
    }
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void reduceScatter_leavesItsInputAsItWas(int size, ScalarType type) {
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              Tensor whole = tensor(type, LongStream.generate(ranks::rank).limit(size).toArray());
              ranks.reduceScatter(zeros(type, 1), whole).await();
              return whole;
            });

    for (int rank = 0; rank < size; rank++) {
      assertThat(results.get(rank)).hasSize(size).containsOnly((long) rank);
    }
  }

  @Test
  void reduceScatter_ofBfloat16_roundsTheSumOnce() {
    // 256 + 1 is no bfloat16 and rounds to 256, but 256 + 1 + 1 is one.
    List<List<Long>> results =
        onRanks(
            3,
            ranks -> {
              Tensor part = zeros(ScalarType.BFloat16, 1);
              long value = ranks.rank() == 0 ? 256 : 1;
              ranks.reduceScatter(part, tensor(ScalarType.BFloat16, value, value, value)).await();
              return part;
            });

    assertThat(results).containsOnly(List.of(258L));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void reduceScatter_ofMuch_addsPartByPart(boolean intoItsInput) {
    int count = 3_000_001; // of a part: more than a ring holds
    List<List<Long>> wrong =
        onRanks(
            2,
            ranks -> {
              long first = (long) ranks.rank() * count;
              Tensor all = remainders(2 * count, 1000 + ranks.rank());
              Tensor expected =
                  remainders(2 * count, 1001 - ranks.rank()).add_(all).narrow(0, first, count);
              Tensor part =
                  intoItsInput ? all.narrow(0, first, count) : zeros(ScalarType.Float, count);
              ranks.reduceScatter(part, all).await();
              return part.ne(expected).sum();
            });

    assertThat(wrong).containsOnly(List.of(0L));
  }

  private static Tensor remainders(int count, int divisor) {
    return torch
        .arange(new Scalar((long) count), Torch.options(ScalarType.Float, Torch.cpu()))
        .remainder_(new Scalar((long) divisor));
  }

  @Test
  void allGather_ofNothing_isDone() {
    List<List<Long>> results =
        onRanks(
            2,
            ranks -> {
              ranks.allGather(zeros(ScalarType.Float, 0), zeros(ScalarType.Float, 0)).await();
              return tensor(ScalarType.Long, ranks.rank());
            });

    assertThat(results).containsExactly(List.of(0L), List.of(1L));
  }

  @Test
  void reduceScatter_intoItsOwnInput_isAllowed() {
    List<List<Long>> results =
        onRanks(
            2,
            ranks -> {
              Tensor whole = tensor(ScalarType.Float, 1 + ranks.rank(), 10);
              Tensor part = whole.narrow(0, ranks.rank(), 1);
              ranks.reduceScatter(part, whole).await();
              return part;
            });

    assertThat(results).containsExactly(List.of(3L), List.of(20L));
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void allGather_joinsInRankOrder(int size, ScalarType type) {
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              Tensor all = zeros(type, size, 1);
              ranks.allGather(all, tensor(type, 7 + ranks.rank())).await();
              return all;
            });

    List<Long> joined = Stream.iterate(7L, value -> value + 1).limit(size).toList();
    assertThat(results).hasSize(size).containsOnly(joined);
  }

  @ParameterizedTest
  @MethodSource("sizesAndTypes")
  void send_arrivesAtTheNextRank(int size, ScalarType type) {
    List<List<Long>> results =
        onRanks(
            size,
            ranks -> {
              Tensor from = zeros(type, 1);
              int next = (ranks.rank() + 1) % size;
              int previous = (ranks.rank() + size - 1) % size;
              WorkHandle sent = ranks.send(tensor(type, ranks.rank()), next, 0);
              ranks.receive(from, previous, 0).await();
              sent.await();
              return from;
            });

    for (int rank = 0; rank < size; rank++) {
      assertThat(results.get(rank)).containsExactly((rank + size - 1L) % size);
    }
  }

  @Test
  void receive_inAnotherOrderThanSent_isMatchedByTag() {
    List<List<Long>> results =
        onRanks(
            2,
            ranks -> {
              Tensor values = zeros(ScalarType.Long, 3);
              List<WorkHandle> pending = new ArrayList<>();
              for (int i = 0; i < 3; i++) {
                pending.add(
                    ranks.rank() == 0
                        ? ranks.send(tensor(ScalarType.Long, 10 + i), 1, i)
                        : ranks.receive(values.narrow(0, 2 - i, 1), 0, 2 - i));
              }
              pending.reversed().forEach(WorkHandle::await);
              return values;
            });

    assertThat(results.get(1)).containsExactly(10L, 11L, 12L);
  }

  @Test
  void send_ofMoreThanTheConnectionStores_arrivesWhileBothSend() {
    int values = 3_000_001;
    List<List<Long>> results =
        onRanks(
            2,
            ranks -> {
              int other = 1 - ranks.rank();
              long[] mine = LongStream.range(0, values).map(i -> i + ranks.rank()).toArray();
              Tensor arrived = zeros(ScalarType.Long, values);
              WorkHandle first = ranks.receive(arrived, other, 5);
              WorkHandle small = ranks.send(tensor(ScalarType.Long, 7), other, 6);
              WorkHandle sent = ranks.send(tensor(ScalarType.Long, mine), other, 5);
              Tensor seven = zeros(ScalarType.Long, 1);
              WorkHandle second = ranks.receive(seven, other, 6);
              sent.await();
              small.await();
              second.await();
              first.await();
              assertThat(longs(seven)).containsExactly(7L);
              return arrived;
            });

    for (int rank = 0; rank < 2; rank++) {
      long from = 1 - rank;
      List<Long> sent = LongStream.range(0, values).map(i -> i + from).boxed().toList();
      assertThat(results.get(rank)).isEqualTo(sent);
    }
  }

  @Test
  void gatherBytes_ofDifferentLengths_comeInRankOrder() {
    List<List<String>> results =
        run(
            new Mesh(1, 3, 1),
            world ->
                world
                    .all()
                    .gatherBytes("x".repeat(world.rank()).getBytes(StandardCharsets.UTF_8))
                    .stream()
                    .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
                    .toList());

    assertThat(results).hasSize(3).containsOnly(List.of("", "x", "xx"));
  }

  @Test
  void gatherBytes_ofNothing_areEmpty() {
    List<List<Integer>> lengths =
        run(
            new Mesh(1, 2, 1),
            world -> world.all().gatherBytes(new byte[0]).stream().map(its -> its.length).toList());

    assertThat(lengths).hasSize(2).containsOnly(List.of(0, 0));
  }

  @Test
  void groups_ofEveryAxis_haveTheirMembersInOrder() {
    Mesh mesh = new Mesh(2, 2, 2);
    record Members(
        List<Long> tp, List<Long> dp, List<Long> pp, List<Long> stages, List<Long> stage) {}

    List<Members> results =
        run(
            mesh,
            world ->
                new Members(
                    members(world, world.tp()),
                    members(world, world.dp()),
                    members(world, world.pp()),
                    members(world, world.replicasOnStages(List.of(0, 1))),
                    members(world, world.stage())));

    for (int rank = 0; rank < 8; rank++) {
      long tp = rank & 1;
      long dp = rank & 2;
      long pp = rank & 4;
      assertThat(results.get(rank))
          .isEqualTo(
              new Members(
                  List.of(dp + pp, 1 + dp + pp),
                  List.of(tp + pp, tp + 2 + pp),
                  List.of(tp + dp, tp + dp + 4),
                  List.of(tp, tp + 2, tp + 4, tp + 6),
                  List.of(pp, pp + 1, pp + 2, pp + 3)));
    }
  }

  private static List<Long> members(World world, Communicator group) {
    try (Scope scope = Scope.open()) {
      Tensor all = zeros(ScalarType.Long, group.size());
      group.allGather(all, tensor(ScalarType.Long, world.rank())).await();
      return longs(all);
    }
  }

  @Test
  void operations_onSeveralGroupsAtOnce_doNotDisturbEachOther() {
    List<List<Long>> results =
        run(
            new Mesh(2, 2, 1),
            world -> {
              try (Scope scope = Scope.open()) {
                List<WorkHandle> pending = new ArrayList<>();
                Tensor sums = zeros(ScalarType.Float, 3, 1000).add_(Tensors.scalar(world.rank()));
                List<Communicator> groups = List.of(world.tp(), world.dp(), world.all());
                for (int i = 0; i < 3; i++) {
                  pending.add(groups.get(i).allReduce(sums.narrow(0, i, 1), Reduction.SUM));
                }
                pending.forEach(WorkHandle::await);
                return longs(sums.narrow(1, 999, 1));
              }
            });

    assertThat(results)
        .containsExactly(
            List.of(1L, 2L, 6L), List.of(1L, 4L, 6L), List.of(5L, 2L, 6L), List.of(5L, 4L, 6L));
  }

  @Test
  void operations_over300Rounds_leaveNativeMemoryAsItWas() {
    NativeAllocation.bytes(); // where nothing tells them, the test is skipped
    List<Long> growth =
        run(
            new Mesh(1, 2, 1),
            world -> {
              long before = 0;
              for (int round = 0; round < 400; round++) {
                if (round == 100) {
                  world.all().barrier();
                  before = Pointer.totalBytes() + NativeAllocation.bytes();
                }
                talk(world.all());
              }
              world.all().barrier();
              return Pointer.totalBytes() + NativeAllocation.bytes() - before;
            });

    assertThat(growth).allSatisfy(bytes -> assertThat(bytes).isLessThan(32L << 20));
  }

  private static void talk(Communicator ranks) {
    try (Scope scope = Scope.open()) {
      int other = 1 - ranks.rank();
      Tensor whole = zeros(ScalarType.Float, 1 << 16);
      Tensor half = zeros(ScalarType.Float, 1 << 15);
      ranks.allReduce(whole, Reduction.SUM).await();
      ranks.reduceScatter(half, whole).await();
      ranks.allGather(whole, half).await();
      WorkHandle sent = ranks.send(whole, other, 3);
      ranks.receive(zeros(ScalarType.Float, 1 << 16), other, 3).await();
      sent.await();
    }
  }

  @Test
  void reduceScatter_ofPartsThatDoNotFit_saysTheSizes() {
    assertThatThrownBy(
            () ->
                onRanks(
                    2,
                    ranks -> {
                      ranks
                          .reduceScatter(zeros(ScalarType.Float, 3), zeros(ScalarType.Float, 5))
                          .await();
                      return zeros(ScalarType.Float, 1);
                    }))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining("2 parts of 3 values (Float) are not 5 values (Float)");
  }

  @Test
  void alone_collectives_copy() {
    try (Scope scope = Scope.open();
        Communicator alone = Communicator.singleRank()) {
      Tensor in = tensor(ScalarType.Float, 1, 2);
      Tensor gathered = zeros(ScalarType.Float, 2);
      Tensor scattered = zeros(ScalarType.Float, 2);
      alone.allReduce(in, Reduction.SUM).await();
      alone.allGather(gathered, in).await();
      alone.reduceScatter(scattered, in).await();

      assertThat(longs(gathered)).containsExactly(1L, 2L);
      assertThat(longs(scattered)).containsExactly(1L, 2L);
      alone.allGather(zeros(ScalarType.Float, 0), zeros(ScalarType.Float, 0)).await();
    }
  }
}

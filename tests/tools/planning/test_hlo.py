import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from albert_jax.tools.planning import hlo

PROGRAM = """HloModule toy, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (p: f32[8,4]) -> f32[2,4] {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0)
  %inner = f32[8,4]{1,0:T(8,128)} all-reduce(%p), channel_id=7, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %slice = f32[2,4]{1,0:T(8,128)} dynamic-slice(%inner, %p, %p)
}

%inner_condition (s: s32[]) -> pred[] {
  %s = s32[]{:T(128)} parameter(0)
  %limit = s32[]{:T(128)} constant(3)
  ROOT %less = pred[] compare(%s, %limit), direction=LT
}

%inner_body (s.1: s32[]) -> s32[] {
  %s.1 = s32[] parameter(0)
  %grad = (bf16[16]{0:T(256)}, f32[4]{0:T(128)}) all-reduce(%x, %y), channel_id=1, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add, backend_config={"window_config":{"estimated_cycles":"10"}}
  ROOT %next = s32[] add(%s.1, %s.1)
}

%outer_condition (t: s32[]) -> pred[] {
  %t = s32[] parameter(0)
  %limit.1 = s32[] constant(5)
  ROOT %less.1 = pred[] compare(%t, %limit.1), direction=LT
}

%outer_body (t.1: s32[]) -> s32[] {
  %t.1 = s32[] parameter(0)
  %loop = s32[] while(%t.1), condition=%inner_condition, body=%inner_body
  ROOT %gather = s32[64]{0} all-gather(%loop), channel_id=2, replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, dimensions={0}
}

ENTRY %main (arg: s32[]) -> s32[] {
  %arg = s32[] parameter(0)
  %outer = s32[] while(%arg), condition=%outer_condition, body=%outer_body
  %scatter = f32[2,4]{1,0} fusion(%arg), kind=kCustom, calls=%all-reduce-scatter.1
  %start = (f32[16]{0}, f32[16]{0}) collective-permute-start(%arg), channel_id=3, source_target_pairs={{0,1},{1,0}}
  %end = f32[16]{0} collective-permute-done(%start)
  %alone = f32[9]{0} all-reduce(%arg), channel_id=4, replica_groups=[8,1]<=[8], to_apply=%add
  ROOT %all = f32[8]{0} all-to-all(%arg), channel_id=5
}
"""  # noqa: E501


def test_collectives_count_as_often_as_they_run():
  found = {collective.kind: collective for collective in hlo.collectives(PROGRAM, chips=8)}
  assert found == {
    "all-reduce": hlo.Collective("all-reduce", bytes=16 * 2 + 4 * 4, group=4, times=15),
    "all-gather": hlo.Collective("all-gather", bytes=64 * 4, group=4, times=5),
    "reduce-scatter": hlo.Collective("reduce-scatter", bytes=8 * 4 * 4, group=4, times=1),
    "collective-permute": hlo.Collective("collective-permute", bytes=16 * 4, group=2, times=1),
    "all-to-all": hlo.Collective("all-to-all", bytes=8 * 4, group=8, times=1),
  }


@pytest.mark.parametrize(
  ("kind", "sent"), [("all-reduce", 2 * 75), ("all-gather", 75), ("reduce-scatter", 75), ("collective-permute", 100)]
)
def test_bytes_sent_by_ring_algorithms(kind, sent):
  assert hlo.Collective(kind, bytes=100, group=4, times=3).sent == 3 * sent


def test_one_transfer_in_two_halves_counts_once():
  halves = PROGRAM.replace("%end = f32[16]{0} collective-permute-done(%start)", """
  %again = f32[16]{0} collective-permute(%arg), channel_id=3, source_target_pairs={{0,1},{1,0}}""")  # fmt: skip
  assert len(hlo.collectives(halves, chips=8)) == len(hlo.collectives(PROGRAM, chips=8))


def test_cycles_are_those_that_the_compiler_writes():
  assert {o.name: o.cycles * o.times for o in hlo.operations(PROGRAM) if o.cycles} == {"grad": 150}
  unknown = PROGRAM.replace('"estimated_cycles":"10"', f'"estimated_cycles":"{2**63 - 1}"')
  assert not any(o.cycles for o in hlo.operations(unknown))


def test_a_program_that_xla_compiled():
  mesh = jax.make_mesh((2, 4), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)

  def summed(x):
    return jax.lax.scan(lambda total, _: (jax.lax.psum(jnp.sin(total), "b"), None), x, length=6)[0]

  step = jax.jit(jax.shard_map(summed, mesh=mesh, in_specs=P("a"), out_specs=P("a"), check_vma=False))
  text = step.lower(jax.ShapeDtypeStruct((8, 32), jnp.float32)).compile().as_text()
  assert hlo.collectives(text, chips=8) == [hlo.Collective("all-reduce", bytes=4 * 32 * 4, group=4, times=6)]

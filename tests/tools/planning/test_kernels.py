"""The kernels of a program in the form that XLA writes for GPUs."""

import dataclasses
import json

import pytest

from albert_jax.tools.planning import estimate
from albert_jax.tools.planning.cards import CARDS
from albert_jax.tools.planning.compiled import Choice
from albert_jax.tools.planning.hlo import Collective
from albert_jax.tools.planning.kernels import Kernel, kernels
from albert_jax.tools.planning.report import report
from albert_jax.tools.planning.search import Plan, search
from tests.builders import override

H100 = CARDS["h100"]
PROGRAM = """HloModule toy, is_scheduled=true

FileNames
1 "/home/somebody/train.py"
2 "/home/somebody/albert_jax/models/layers.py"
3 "/usr/lib/python3/jax/numpy.py"
4 "/home/somebody/albert_jax/optim/optimizer.py"
FunctionNames
1 "main"
2 "LayerNorm.__call__"
3 "mean"
4 "scale_by_moments.<locals>.update"
5 "Dense.__call__"
FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=9}
2 {file_name_id=2 function_name_id=2 line=81 end_line=81 column=1 end_column=9}
3 {file_name_id=3 function_name_id=3 line=900 end_line=900 column=1 end_column=9}
4 {file_name_id=4 function_name_id=4 line=33 end_line=33 column=1 end_column=9}
5 {file_name_id=2 function_name_id=5 line=64 end_line=64 column=1 end_column=9}
StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=1}
3 {file_location_id=3 parent_frame_id=2}
4 {file_location_id=4 parent_frame_id=1}
5 {file_location_id=5 parent_frame_id=1}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused_mean (p: bf16[64,32]) -> f32[64] {
  %p = bf16[64,32]{1,0} parameter(0)
  %wide = f32[64,32]{1,0} convert(%p)
  %zero = f32[] constant(0)
  ROOT %mean = f32[64]{0} reduce(%wide, %zero), dimensions={1}, to_apply=%add
}

%fused_slice (stack: f32[10,8,4], i: s32[]) -> f32[8,4] {
  %stack = f32[10,8,4]{2,1,0} parameter(0)
  %flat = f32[10,32]{1,0} bitcast(%stack)
  %i = s32[] parameter(1)
  %one = f32[1,32]{1,0} dynamic-slice(%flat, %i, %i), dynamic_slice_sizes={1,32}
  ROOT %out = f32[8,4]{1,0} bitcast(%one)
}

%fused_update (all: f32[10,8,4], new: f32[1,8,4], j: s32[]) -> f32[10,8,4] {
  %all = f32[10,8,4]{2,1,0} parameter(0)
  %new = f32[1,8,4]{2,1,0} parameter(1)
  %j = s32[] parameter(2)
  ROOT %written = f32[10,8,4]{2,1,0} dynamic-update-slice(%all, %new, %j, %j, %j)
}

%fused_two (q: f32[16], r: f32[16]) -> (f32[16], bf16[16]) {
  %q = f32[16]{0} parameter(0)
  %r = f32[16]{0} parameter(1)
  %both = f32[16]{0} add(%q, %r)
  %narrow = bf16[16]{0} convert(%both)
  ROOT %pair = (f32[16]{0}, bf16[16]{0}) tuple(%both, %narrow)
}

%gemm_computation (x: bf16[64,32], w: bf16[32,8]) -> bf16[64,8] {
  %x = bf16[64,32]{1,0} parameter(0)
  %w = bf16[32,8]{1,0} parameter(1)
  ROOT %dot = bf16[64,8]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%fused_compare (u: s32[]) -> pred[] {
  %u = s32[] parameter(0)
  %limit = s32[] constant(10)
  ROOT %fewer = pred[] compare(%u, %limit), direction=LT
}

%condition (s: s32[]) -> pred[] {
  %s = s32[] parameter(0)
  ROOT %less = pred[] fusion(%s), kind=kLoop, calls=%fused_compare
}

%body (t: s32[]) -> s32[] {
  %t = s32[] parameter(0)
  %stacked = f32[10,8,4]{2,1,0} constant({...})
  %slice_fusion = f32[8,4]{1,0} fusion(%stacked, %t), kind=kLoop, calls=%fused_slice
  %update_fusion = f32[10,8,4]{2,1,0} fusion(%stacked, %slice_fusion, %t), kind=kLoop, calls=%fused_update
  ROOT %next = s32[] add(%t, %t)
}

%command_buffer (c: bf16[64,32]) -> f32[64] {
  %c = bf16[64,32]{1,0} parameter(0)
  ROOT %mean_fusion = f32[64]{0} fusion(%c), kind=kInput, calls=%fused_mean, metadata={op_name="x" stack_frame_id=3}
}

ENTRY %main (arg: bf16[64,32], w.1: bf16[32,8], m: f32[16]) -> f32[] {
  %arg = bf16[64,32]{1,0} parameter(0)
  %w.1 = bf16[32,8]{1,0} parameter(1)
  %m = f32[16]{0} parameter(2)
  %called = f32[64]{0} call(%arg), to_apply=%command_buffer
  %loop = s32[] while(%arg), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"10"},"known_init_step":{"init":"0","step":"1"}}
  %two = (f32[16]{0}, bf16[16]{0}) fusion(%m, %m), kind=kLoop, calls=%fused_two, metadata={stack_frame_id=4}
  %first = f32[16]{0} get-tuple-element(%two), index=0
  %gemm = bf16[64,8]{1,0} fusion(%arg, %w.1), kind=kCustom, calls=%gemm_computation, metadata={stack_frame_id=5}
  %cublas = (bf16[64,8]{1,0}, s8[4096]{0}) custom-call(%arg, %w.1), custom_call_target="__cublas$lt$matmul", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  %q4 = bf16[2,16,3,8]{3,2,1,0} bitcast(%arg)
  %fmha = (bf16[2,3,16,8]{3,1,2,0}, u8[0]{0}) custom-call(%q4, %q4, %q4), custom_call_target="__cudnn$fmhaSoftmax", backend_config={"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "3", "16", "16"]}}}
  %fmha_bwd = (bf16[2,3,16,8]{3,1,2,0}, u8[0]{0}) custom-call(%q4, %q4), custom_call_target="__cudnn$fmhaSoftmaxBackward", backend_config={"cudnn_fmha_backend_config": {"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "3", "16", "16"]}}}
  %gradients = f32[16]{0} all-reduce-start(%first), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  ROOT %copy = bf16[64,32]{0,1} copy(%arg)
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def found() -> dict[str, Kernel]:
  return {kernel.name: kernel for kernel in kernels(PROGRAM)}


def test_kernels_are_what_is_launched(found):
  names = {"mean_fusion", "slice_fusion", "update_fusion", "next", "two", "gemm", "cublas", "fmha", "fmha_bwd", "copy"}
  assert found.keys() == names
  assert {name: kernel.times for name, kernel in found.items() if kernel.times > 1} == {
    "slice_fusion": 10,
    "update_fusion": 10,
    "next": 10,
  }


def test_bytes_are_those_that_leave_and_reach_memory(found):
  assert found["mean_fusion"].bytes == 64 * 32 * 2 + 64 * 4
  assert found["two"].bytes == 16 * 4 + 16 * 4 + 16 * 2  # an operand that is given twice is read once
  assert found["slice_fusion"].bytes == 32 * 4 + 4 + 32 * 4  # of ten slices one is read
  assert found["update_fusion"].bytes == 32 * 4 + 4 + 32 * 4  # in place
  assert found["copy"].bytes == 2 * 64 * 32 * 2
  assert found["cublas"].bytes == found["gemm"].bytes == 2 * (64 * 32 + 32 * 8 + 64 * 8)  # no workspace


def test_flops_of_products_whoever_computes_them(found):
  assert found["gemm"].flops == found["cublas"].flops == 2 * 64 * 32 * 8
  assert found["fmha"].flops == 2 * 2 * (2 * 3 * 16 * 16) * 8
  assert found["fmha_bwd"].flops == 5 * 2 * (2 * 3 * 16 * 16) * 8
  assert found["mean_fusion"].flops == 0


def test_groups_and_lines(found):
  assert (found["mean_fusion"].group, found["mean_fusion"].source) == ("normalisation", "models/layers.py:81")
  assert (found["two"].group, found["two"].source) == ("optimizer", "optim/optimizer.py:33")
  assert (found["gemm"].group, found["gemm"].source) == ("matrix products", "models/layers.py:64")
  assert {found[name].group for name in ("fmha", "fmha_bwd")} == {"attention"}
  assert (found["copy"].group, found["copy"].source) == ("copies", "")


@pytest.fixture
def step(make_step):
  """Kernels whose launches take 2, 1 and 1 ms of an H100."""
  flops, size = H100.peak * estimate.GPU_PRODUCTS * 0.002, int(H100.bandwidth * estimate.GPU_BANDWIDTH * 0.001)
  made = [
    Kernel("product", "matrix products", flops=flops, bytes=1, times=5, source="a:1"),
    Kernel("fused", "attention", flops=0, bytes=size, times=2, source=""),
    Kernel("norm", "normalisation", flops=0, bytes=size, times=4, source="b:2"),
  ]
  plain = make_step(Choice(16, 1, 1, 1, "none"), activations=1e9)
  return dataclasses.replace(plain, kernels=made, tokens=1000, model_flops=H100.peak * 0.008)


def test_the_floor_is_the_sum_of_what_bounds_each_kernel(step):
  groups = estimate.seconds_by_group(step, H100)
  assert groups == pytest.approx({"matrix products": 0.010, "normalisation": 0.004, "attention": 0.002}, rel=1e-6)
  assert next(iter(groups)) == "matrix products"
  assert estimate.floor_seconds(step, H100, 8) == pytest.approx(0.016, rel=1e-6)
  assert estimate.other_seconds(step, H100) == pytest.approx(0.004, rel=1e-6)
  assert estimate.other_bytes_per_token(step) == 4 * step.kernels[2].bytes / 1000


def test_transfers_that_take_longer_are_the_floor(step):
  slow = dataclasses.replace(step, collectives=[Collective("all-reduce", int(H100.link_rate), group=8, times=1)])
  assert estimate.floor_seconds(slow, H100, 8) == pytest.approx(2 * 7 / 8)


def test_the_report_has_what_programs_read(step):
  lines = report(Plan([step], step), "h100:8", H100, 8).splitlines()
  facts = json.loads(lines[-1])
  assert facts["fits"] is True
  assert facts["memory_bytes"] == sum(step.memory.values())
  assert facts["mfu_at_most"] == pytest.approx(0.5)
  assert facts["floor_seconds"] == pytest.approx(0.016)
  assert facts["other_seconds"] == pytest.approx(0.004)
  assert facts["collective_bytes"] == step.sent
  assert [row["source"] for row in facts["dearest"]] == ["b:2"]
  assert any("normalisation" in line and "b:2" in line for line in lines)
  assert any("50.0%" in line for line in lines)


def test_for_gpus_only_microbatches_are_searched(monkeypatch, make_step):
  from albert_jax.tools.planning import search as module
  from configs import albert_base

  choices = []

  def compile_step(config, devices, memory, choice, effort):
    choices.append(choice)
    return make_step(choice, effort, available=memory, activations=1.2e12)

  monkeypatch.setattr(module, "compile_step", compile_step)
  monkeypatch.setattr(module, "make_mesh", lambda sizes, devices: None)
  config = override(albert_base.get_config(), {"train.batch_size": 4096})
  plan = search(config, [None] * 8, H100)
  # 512 rows of 512 positions on a card: four parts of 65,536 positions; 1.2 TB in 80 GB asks for 16.
  assert choices == [Choice(8, 1, 1, 4, "none"), Choice(8, 1, 1, 16, "none")]
  assert plan.best.choice == choices[-1]
